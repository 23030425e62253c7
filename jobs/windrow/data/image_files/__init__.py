"""Open image files of any origin: find out what a file is, and read of its metadata the orientation alone."""
