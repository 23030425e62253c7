"""Describe a network for the code that trains, registers or runs it."""
