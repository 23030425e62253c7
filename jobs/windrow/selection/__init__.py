"""Decide from a finished study whether its best network becomes champion."""
