"""Turn image URLs into table rows with labels."""
