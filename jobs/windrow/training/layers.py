"""Compute a built-in network inside a compiled epoch: Keras' own layers, in fewer passes over memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def logits(
    network: Any, images: Any, training: bool, dropout: Any, seed: Any, variables: Iterable[Any] | None = None
) -> Any:
    """Return the logits of a built-in network: its outputs without the final softmax.

    Args:
        network: a chain of layers, from networks.py, that ends in a Softmax.
        images: float32 tensor (n, height, width, channels), 0..255.
        training: whether to drop activations and to update the averages of batch normalisation.
        dropout: rate of every Dropout layer, float32 scalar; used in training only.
        seed: seed of the dropped activations, int32 tensor (2,); used in training only.
        variables: variables to use in place of the network's own, in the order of `network.weights`. Layers are then as
            wide as these, whatever their width in the network.
    """
    import keras
    import tensorflow as tf

    x, scale, own = images, None, iter(network.weights if variables is None else variables)
    for number, layer in enumerate(network.layers[1:-1]):
        values = [next(own).value for _ in layer.weights]
        if isinstance(layer, keras.layers.Rescaling):
            scale = layer.scale  # Keras would also add the offset of 0, in another pass over all pixels
        elif isinstance(layer, keras.layers.Flatten):
            known = None not in x.shape[1:]
            x = tf.reshape(x, [-1, math.prod(x.shape[1:])] if known else [tf.shape(x)[0], -1])
        else:
            x = _apply(layer, values, x, scale, training, dropout, seed + number if training else None)
            scale = None
    return x


def _apply(
    layer: Any, values: Sequence[Any], x: Any, scale: float | None, training: bool, dropout: Any, seed: Any
) -> Any:
    """Apply one layer with the given weights to `x` times `scale`, or to `x` itself if `scale` is None."""
    import keras
    import tensorflow as tf

    if isinstance(layer, keras.layers.Dense):
        x = tf.matmul(x, values[0])
        # Scale the product, which has fewer values than the pixels.
        return layer.activation(_shift(layer, x * scale if scale else x, values))
    if isinstance(layer, keras.layers.Conv2D):
        x = tf.nn.conv2d(x * scale if scale else x, values[0], layer.strides, layer.padding.upper())
        return layer.activation(_shift(layer, x, values))
    if isinstance(layer, keras.layers.Dropout):
        return tf.nn.experimental.stateless_dropout(x, dropout, seed) if training else x
    if isinstance(layer, keras.layers.BatchNormalization):
        return _normalize(layer, values, x, training)
    return layer(x * scale if scale else x, training=training)


def _shift(layer: Any, x: Any, values: Sequence[Any]) -> Any:
    import tensorflow as tf

    return tf.nn.bias_add(x, values[1]) if layer.use_bias else x


def _normalize(layer: Any, values: Sequence[Any], x: Any, training: bool) -> Any:
    """Apply batch normalisation as one operation; Keras computes the mean, the variance and the product separately."""
    import tensorflow as tf

    gamma, beta, mean, variance = values
    nothing = tf.constant([], tf.float32)
    outputs = tf.raw_ops.FusedBatchNormV3(
        x=x if len(x.shape) == 4 else x[:, tf.newaxis, tf.newaxis, :],
        scale=gamma,
        offset=beta,
        mean=nothing if training else mean,
        variance=nothing if training else variance,
        epsilon=layer.epsilon,
        is_training=training,
    )
    if training:
        # The operation returns the sample variance (divided by n - 1); Keras averages that of the batch (divided by n).
        count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float64)
        mean.assign(mean * layer.momentum + outputs.batch_mean * (1 - layer.momentum))
        biased = outputs.batch_variance * tf.cast((count - 1) / count, tf.float32)
        variance.assign(variance * layer.momentum + biased * (1 - layer.momentum))
    return outputs.y if len(x.shape) == 4 else outputs.y[:, 0, 0, :]


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
