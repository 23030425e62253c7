"""Read the files that URLs arrive in, and leave out the URLs that already have a row."""
