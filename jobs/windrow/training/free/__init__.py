"""Built-in networks whose sizes are no part of a graph."""
