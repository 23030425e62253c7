"""A study and its trials: what is asked, where it runs, how it ended."""
