"""The network in a Python worker: loaded once, traced once, fed in batches of one size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Network:
    """A .keras file as a function from pixels to its best labels.

    Args:
        file: takes float32 (n, *shape) in 0..255 and gives (n, classes) probabilities.
        shape: (height, width, channels).
        batch_size: images a step; a smaller batch is filled up with zeros, so that the graph is traced once only.
        top_k: labels an image, at most the number of classes.
        threads: TensorFlow's threads; counts only before the process's first import of TensorFlow.
    """

    def __init__(self, file: Path, shape: tuple[int, int, int], batch_size: int, top_k: int, threads: int = 1) -> None:
        from windrow.training.runtime import import_tensorflow

        import_tensorflow(threads)
        import keras
        import tensorflow as tf

        network = keras.saving.load_model(file, compile=False)
        signature = [tf.TensorSpec((batch_size, *shape), tf.uint8)]

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def best(pixels: Any) -> Any:
            probabilities = network(tf.cast(pixels, tf.float32), training=False)
            return tf.math.top_k(probabilities, k=min(top_k, probabilities.shape[-1]))

        self._best = best
        self._batch = np.zeros((batch_size, *shape), np.uint8)
        self.classes = int(network.output_shape[-1])
        self.label(self._batch[:1])  # the first call traces; no image's time should hold that

    def label(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The best classes and their probabilities, best first: two arrays of shape (n, top_k).

        Args:
            pixels: uint8 (n, *shape), n from 1 to batch_size.
        """
        count = len(pixels)
        self._batch[:count] = pixels
        self._batch[count:] = 0
        best = self._best(self._batch)
        return best.indices.numpy()[:count], best.values.numpy()[:count]


_loaded: dict[tuple[str, int, int], Network] = {}


def load(
    file: Path, digest: str, shape: tuple[int, int, int], batch_size: int, top_k: int, threads: int = 1
) -> Network:
    """The network of this digest, loaded at most once in a Python worker. A worker holds one network at a time."""
    key = (digest, batch_size, top_k)
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = Network(file, shape, batch_size, top_k, threads)
    return _loaded[key]
