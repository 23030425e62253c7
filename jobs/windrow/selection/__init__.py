"""From a finished study to a decision about the champion."""
