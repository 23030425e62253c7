"""Load a network, whatever its kind and precision, and label images with it."""
