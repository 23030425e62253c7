"""Describe a scoring run: its figures, its drift, its description in words, and its gallery of pictures."""
