"""Write a page of your own from a folder of images, and run the page's DAGs from the command line."""
