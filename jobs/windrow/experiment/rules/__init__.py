"""Check what a page's keys must satisfy together."""
