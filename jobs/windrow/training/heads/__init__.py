"""Heads on a backbone's features: what the loop over heads of all widths needs."""
