"""Describe a scoring run: figures, drift, text, gallery."""
