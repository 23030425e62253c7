"""From hyper-parameters and arrays to a trained network. On executors; imports TensorFlow in functions only."""
