"""Train a network from hyper-parameters and arrays, on executors. Imports TensorFlow only inside functions."""
