"""Checks of make doctor: a finding each, with what to do about it."""
