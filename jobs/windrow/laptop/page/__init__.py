"""A page of one's own: write it from a folder of images, and run its DAGs from the command line."""
