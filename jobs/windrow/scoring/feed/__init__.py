"""Read the files that URLs arrive in, and leave out the known ones."""
