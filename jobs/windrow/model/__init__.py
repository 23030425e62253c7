"""Describe a network to whoever trains, registers or runs it."""
