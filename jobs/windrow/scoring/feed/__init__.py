"""Read the files that URLs arrive in, and leave out what is known."""
