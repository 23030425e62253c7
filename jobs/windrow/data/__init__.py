"""From a source of labelled images to memory-mapped arrays with a manifest. Imports no TensorFlow."""
