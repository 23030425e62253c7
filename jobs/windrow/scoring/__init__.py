"""From image URLs to rows with labels."""
