"""Give what a compiled graph needs of a network: its outputs, their loss, and the probabilities of the classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Forward:
    """A network's functions for use in a graph.

    Attributes:
        outputs: (float32 images, training, dropout, seed) → outputs.
        loss: (labels, outputs, smoothing) → loss per image; `smoothing` is the share of each label that all classes
            get, a scalar or of the outputs' first axes, or None for no share.
        probabilities: outputs → probabilities of the classes, in 0..1.
    """

    outputs: Callable[..., Any]
    loss: Callable[[Any, Any, Any], Any]
    probabilities: Callable[[Any], Any]


def of_keras(network: Any) -> Forward:
    """Return the functions of any network; its outputs are logits if it ends in a Softmax layer, for a stabler loss."""
    import keras
    import tensorflow as tf

    last = network.layers[-1]
    ends_in_softmax = isinstance(last, keras.layers.Softmax)
    called = keras.Model(network.input, last.input) if ends_in_softmax else network

    def outputs(images: Any, training: bool, *_: Any) -> Any:
        return tf.cast(called(images, training=training), tf.float32)  # a user's network may compute in float16

    if ends_in_softmax:
        return Forward(outputs, crossentropy, tf.nn.softmax)
    return Forward(outputs, _crossentropy_of_probabilities, tf.identity)


def crossentropy(truth: Any, logits: Any, smoothing: Any) -> Any:
    """Return the loss per image of logits (..., classes), as for Forward.loss."""
    import tensorflow as tf

    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)
    if smoothing is None:
        return losses
    own = tf.gather(logits, truth, axis=-1, batch_dims=len(logits.shape) - 1)
    return losses + smoothing * (own - tf.reduce_mean(logits, -1))


def _crossentropy_of_probabilities(truth: Any, probabilities: Any, smoothing: Any) -> Any:
    import keras
    import tensorflow as tf

    losses = keras.ops.sparse_categorical_crossentropy(truth, probabilities)
    if smoothing is None:
        return losses
    floor = keras.config.epsilon()  # at which Keras clips them, too
    spread = -tf.reduce_mean(tf.math.log(tf.clip_by_value(probabilities, floor, 1 - floor)), -1)
    return losses + smoothing * (spread - losses)
