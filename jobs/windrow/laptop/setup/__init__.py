"""Prepare this machine: a Java, its class archive, and what memory there is."""
