"""Checks of make doctor that have a module of their own, and the findings that all checks return."""
