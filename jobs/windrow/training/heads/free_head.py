"""A head whose hidden width is free: one graph, traced once, trains heads of every width.

Tracing takes half a second, in which a head on a few thousand images is trained, and a search draws a new width for
nearly every trial. So the graph's variables have an unknown number of units, and each trial brings arrays of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.experiment.parameters import Value
from windrow.training import dense, layers
from windrow.training.forward import Forward, crossentropy

_WORD = 1 << 16


class FreeVariable:
    """A float32 variable whose size may change between two trials, for an Optimizer.

    Attributes:
        value: the tf.Variable.
        constraint: always None, as in a keras.Variable without one.
        dtype: the type of its values.
    """

    constraint = None
    dtype = "float32"

    def __init__(self, sizes: Sequence[int | None]) -> None:
        """Begin with zeros; a size of None is free, and 1 until an array is assigned."""
        import tensorflow as tf

        self.value = tf.Variable(tf.zeros([size or 1 for size in sizes]), shape=sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the present shape."""
        return tuple(self.value.read_value().shape)


class FreeHead:
    """The variables of a head, in Keras' order, and its outputs as a function for a graph.

    Attributes:
        trainable_variables: the variables that gradients change: all of them.
        losses: penalties of the weights, of which a head has none.
    """

    losses: tuple[()] = ()

    def __init__(self, parameters: Mapping[str, Value], shape: tuple[int, int, int], classes: int) -> None:
        """Make the variables.

        Args:
            parameters: the hyper-parameters; `units` may change from trial to trial.
            shape: 1, 1 and the number of features.
            classes: number of labels.
        """
        self._parameters, self._shape, self._classes = parameters, shape, classes
        pair = (dense.weights(parameters, units, shape, classes) for units in (1, 2))
        self.trainable_variables = [
            FreeVariable([one if one == two else None for one, two in zip(narrow, wide, strict=True)])
            for (_, narrow), (_, wide) in zip(*pair, strict=True)
        ]

    def begin(self, units: int, seed: int) -> None:
        """Set the initial weights of a head with so many units, drawn from a seed."""
        known = dense.weights(self._parameters, units, self._shape, self._classes)
        for variable, weights in zip(self.trainable_variables, layers.initial_weights(known, seed), strict=True):
            variable.value.assign(weights)

    def get_weights(self) -> list[NDArray[np.float32]]:
        """Return copies of the present weights, in Keras' order."""
        return [variable.value.numpy().copy() for variable in self.trainable_variables]

    def forward(self) -> Forward:
        """Return the head's functions for a graph; its outputs are the logits."""
        import tensorflow as tf

        return Forward(self._logits, crossentropy, tf.nn.softmax)

    def _logits(self, features: Any, training: bool, dropout: Any = None, seed: Any = None) -> Any:
        import tensorflow as tf

        flat = tf.reshape(features, [-1, math.prod(self._shape)])
        drops = training and bool(self._parameters["dropout"])  # heads with and without dropout share no graph
        operations = _FreeLayers(iter(self.trainable_variables), dropout if drops else None, seed)
        return dense.logits(operations, flat, self._parameters, 0, self._classes)


class _FreeLayers:
    """Computes a head with its variables as they are; the width of a layer is that of its variable."""

    def __init__(self, variables: Iterator[FreeVariable], dropout: Any, seed: Any) -> None:
        self._variables, self._dropout, self._seed = variables, dropout, seed
        self._drops = 0

    def scale_to_one(self, x: Any) -> Any:
        import tensorflow as tf

        return tf.math.l2_normalize(x, -1) * math.sqrt(x.shape[-1])

    def multiply(self, x: Any, width: int, bias: bool) -> Any:
        import tensorflow as tf

        x = tf.matmul(x, next(self._variables).value)
        return tf.nn.bias_add(x, next(self._variables).value) if bias else x

    def normalize(self, x: Any) -> Any:
        raise NotImplementedError("a head has no batch normalisation")

    def activate(self, x: Any, name: str) -> Any:
        import tensorflow as tf

        return getattr(tf.nn, name)(x)

    def drop(self, x: Any) -> Any:
        if self._dropout is None:
            return x
        seed = self._seed + self._drops  # a different seed for each layer
        self._drops += 1
        return drop(x, self._dropout, seed)


def drop(x: Any, rate: Any, seed: Any) -> Any:
    """Set a share `rate` of `x`, float32 (n, width), to zero by chance, and divide the rest by 1 - rate.

    One draw of 32 random bits serves two values: drawing takes most of the time of a step of a linear head. So the rate
    is rounded to a multiple of 1/65,536.
    """
    import tensorflow as tf

    count, width = tf.shape(x)[0], tf.shape(x)[1]
    words = tf.random.stateless_uniform([count, (width + 1) // 2], seed, None, None, tf.uint32)
    halves = tf.reshape(tf.bitcast(words, tf.uint16), [count, -1])[:, :width]
    kept = halves >= tf.cast(tf.cast(rate * _WORD, tf.int32), tf.uint16)
    return x * (tf.cast(kept, tf.float32) / (1 - rate))
