"""Compute a built-in network inside a compiled epoch: Keras' own layers, in fewer passes over memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def logits(network: Any, images: Any, training: bool, dropout: Any, seed: Any) -> Any:
    """Return the logits of a built-in network: its outputs without the final softmax.

    Args:
        network: a chain of layers, from networks.py, that ends in a Softmax.
        images: float32 tensor (n, height, width, channels), 0..255.
        training: whether to drop activations and to update the averages of batch normalisation.
        dropout: rate of every Dropout layer, float32 scalar; used in training only.
        seed: seed of the dropped activations, int32 tensor (2,); used in training only.
    """
    import keras

    x, scale = images, None
    for number, layer in enumerate(network.layers[1:-1]):
        if isinstance(layer, keras.layers.Rescaling):
            scale = layer.scale  # Keras would also add the offset of 0, in another pass over all pixels
        elif isinstance(layer, keras.layers.Flatten):
            x = layer(x)
        else:
            x = _apply(layer, x, scale, training, dropout, seed + number if training else None)
            scale = None
    return x


def _apply(layer: Any, x: Any, scale: float | None, training: bool, dropout: Any, seed: Any) -> Any:
    """Apply one layer to `x` times `scale`, or to `x` itself if `scale` is None."""
    import keras
    import tensorflow as tf

    if isinstance(layer, keras.layers.Dense) and scale:
        # Scale the product, which has fewer values than the pixels.
        x = tf.matmul(x, layer.kernel.value) * scale
        return tf.nn.bias_add(x, layer.bias.value) if layer.use_bias else x
    if isinstance(layer, keras.layers.Dropout):
        return tf.nn.experimental.stateless_dropout(x, dropout, seed) if training else x
    if isinstance(layer, keras.layers.BatchNormalization):
        return _normalize(layer, x, training)
    return layer(x * scale if scale else x, training=training)


def _normalize(layer: Any, x: Any, training: bool) -> Any:
    """Apply batch normalisation as one operation; Keras computes the mean, the variance and the product separately."""
    import tensorflow as tf

    mean, variance = layer.moving_mean.value, layer.moving_variance.value
    nothing = tf.constant([], tf.float32)
    outputs = tf.raw_ops.FusedBatchNormV3(
        x=x if len(x.shape) == 4 else x[:, tf.newaxis, tf.newaxis, :],
        scale=layer.gamma.value,
        offset=layer.beta.value,
        mean=nothing if training else mean,
        variance=nothing if training else variance,
        epsilon=layer.epsilon,
        is_training=training,
    )
    if training:
        # The operation returns the sample variance (divided by n - 1); Keras averages that of the batch (divided by n).
        count = math.prod(x.shape[:-1])
        mean.assign(mean * layer.momentum + outputs.batch_mean * (1 - layer.momentum))
        biased = outputs.batch_variance * ((count - 1) / count)
        variance.assign(variance * layer.momentum + biased * (1 - layer.momentum))
    return outputs.y if len(x.shape) == 4 else outputs.y[:, 0, 0, :]


def initialize(network: Any, seed: int) -> None:
    """Set a built-in network's initial weights from a seed."""
    known = [(variable.name, tuple(variable.shape)) for variable in network.weights]
    network.set_weights(initial_weights(known, seed))


def initial_weights(variables: Sequence[tuple[str, tuple[int, ...]]], seed: int) -> list[NDArray[np.float32]]:
    """Draw initial weights for variables, given by Keras' names and shapes.

    The same seed gives the same weights in every process.
    """
    generator = np.random.default_rng(seed)
    return [
        _glorot_uniform(generator, shape) if name == "kernel" else np.full(shape, _CONSTANT[name], np.float32)
        for name, shape in variables
    ]


_CONSTANT = {"bias": 0.0, "beta": 0.0, "gamma": 1.0, "moving_mean": 0.0, "moving_variance": 1.0}


def _glorot_uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Draw a kernel (..., inputs, outputs) as Keras does by default: Glorot and Bengio 2010, equation 16."""
    limit = math.sqrt(6 / (math.prod(shape[:-2]) * (shape[-2] + shape[-1])))
    return (generator.random(shape, np.float32) * 2 - 1) * np.float32(limit)
