"""Prepare this machine: find or install a Java, and archive Spark's Java classes."""
