"""Turn a source of labelled images into memory-mapped arrays with a manifest. Imports no TensorFlow."""
