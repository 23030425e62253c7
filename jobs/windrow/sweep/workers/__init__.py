"""Start the Python workers of a sweep."""
