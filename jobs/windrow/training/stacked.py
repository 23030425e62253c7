"""Stack dense networks, or heads, of several widths: each weight is one array (members, ...), padded with zeros.

A unit that is padding stays at zero: every activation of the built-in dense network maps 0 to 0, the unit's outgoing
weights are 0, and so is their gradient. Neither the forward pass nor a step needs a mask.

Weights are stored divided by their member's learning rate. So one fused Adam, which takes a single learning rate, can
step all members at once. The multiplication by the rate is applied to activations, which are smaller than weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.experiment.parameters import Value
from windrow.training import dense
from windrow.training.dense import AVERAGE_MOMENTUM, AVERAGES
from windrow.training.optimizer import BETA_1, BETA_2, EPSILON

_EPSILON = 1e-3  # Keras' default of BatchNormalization


class NetworkStack:
    """The variables of `members` dense networks, padded to a width of `units`, and the step that trains them.

    `scale` multiplies their input.
    """

    def __init__(
        self,
        parameters: Mapping[str, Value],
        members: int,
        units: int,
        shape: tuple[int, int, int],
        classes: int,
        scale: float = 1 / 255,
    ) -> None:
        import tensorflow as tf

        self.members, self._scale = members, scale
        self._parameters, self._adam = parameters, parameters["optimizer"] == "adam"
        self._units, self._classes = units, classes
        known = dense.weights(parameters, units, shape, classes)
        self._names = [name for name, _ in known]
        self._values = [tf.Variable(tf.zeros((members, *own))) for _, own in known]
        averages = 2 if self._adam else 1
        self._slots = [[tf.Variable(tf.zeros_like(value)) for _ in range(averages)] for value in self.trained]
        self.rates = tf.Variable(tf.ones(members))

    @property
    def trained(self) -> list[Any]:
        """The variables that gradients change."""
        return [value for name, value in zip(self._names, self._values, strict=True) if name not in AVERAGES]

    def load(self, state: Sequence[Sequence[NDArray[np.float32]]], rates: NDArray[np.float32]) -> None:
        """Load what state() returned for as many members, with each member's learning rate.

        Values beyond this stack's width are cut off, so they must be padding.
        """
        self.rates.assign(rates)
        for variable, arrays in zip(self._all(), state, strict=True):
            padded = np.zeros(variable.shape, np.float32)
            for row, array in zip(padded, arrays, strict=True):
                common = tuple(slice(min(sizes)) for sizes in zip(row.shape, array.shape, strict=True))
                row[common] = array[common]
            variable.assign(padded)

    def begin(self, weights: Sequence[Sequence[NDArray[np.float32]]], rates: NDArray[np.float32]) -> None:
        """Set each member's initial weights, given in Keras' order, and reset the optimizer's averages."""
        divided = [
            [array if name in AVERAGES else array / rate for array, rate in zip(arrays, rates, strict=True)]
            for name, arrays in zip(self._names, zip(*weights, strict=True), strict=True)
        ]
        nothing = [np.zeros((), np.float32)] * len(rates)
        empty = [[np.zeros((0,) * (len(slot.shape) - 1), np.float32) for _ in nothing] for slot in self._flat_slots()]
        self.load([*divided, *empty], rates)

    def state(self) -> list[NDArray[np.float32]]:
        """Return weights and averages, (members, ...) each, as load() takes them."""
        return [variable.numpy() for variable in self._all()]

    def weights(self, position: int) -> list[NDArray[np.float32]]:
        """Return a member's weights in Keras' order, at the stack's width."""
        rate = self.rates.numpy()[position]
        return [
            value[position].numpy() * (1 if name in AVERAGES else rate)
            for name, value in zip(self._names, self._values, strict=True)
        ]

    def logits(self, images: Any, training: bool, dropout: Any, seed: Any) -> Any:
        """Return the logits (members, n, classes) of float32 images or features (members or 1, n, values).

        Args:
            images: the same for all members if the first axis is 1.
            training: whether to drop activations and to update the averages of batch normalisation.
            dropout: rate of each member, (members,); None: no dropout.
            seed: seed of the dropped activations, int32 (2,).
        """
        operations = _StackedLayers(self._values, self.rates, self._scale, training, dropout, seed)
        return dense.logits(operations, images, self._parameters, self._units, self._classes)

    def apply(self, gradients: Sequence[Any], size: Any, shrinks: Any, momenta: Any) -> None:
        """Take one step.

        Args:
            gradients: of the variables in `trained`, in the same order.
            size: step size for a learning rate of 1, scalar.
            shrinks: factor of each member's weights, (members,); None: no weight decay.
            momenta: momentum of each member, (members,); Adam ignores it.
        """
        import tensorflow as tf

        for value, slots, gradient in zip(self.trained, self._slots, gradients, strict=True):
            if shrinks is not None:
                value.assign(value * _column(shrinks, value))
            if self._adam:
                tf.raw_ops.ResourceApplyAdam(
                    var=value.handle,
                    m=slots[0].handle,
                    v=slots[1].handle,
                    beta1_power=0.0,
                    beta2_power=0.0,
                    lr=size,
                    beta1=BETA_1,
                    beta2=BETA_2,
                    epsilon=EPSILON,
                    grad=gradient,
                )
            else:
                value.assign_add(slots[0].assign(slots[0] * _column(momenta, value) - size * gradient))

    def _all(self) -> list[Any]:
        return [*self._values, *self._flat_slots()]

    def _flat_slots(self) -> list[Any]:
        return [slot for slots in self._slots for slot in slots]


class _StackedLayers:
    """Computes the dense network for all members at once, in one pass. Activations are (members, n, units).

    Args:
        values: the variables, in the order of dense.weights. Each operation takes those that come next.
        rates: learning rate of each member, (members,).
        scale: factor of the first product.
        training, dropout, seed: those of NetworkStack.logits.
    """

    def __init__(
        self, values: Sequence[Any], rates: Any, scale: float, training: bool, dropout: Any, seed: Any
    ) -> None:
        self._values, self._rates, self._scale = iter(values), rates, scale
        self._training, self._dropout, self._seed = training, dropout, seed
        self._drops = 0

    def scale_to_one(self, x: Any) -> Any:
        import tensorflow as tf

        return tf.math.l2_normalize(x, -1) * math.sqrt(x.shape[-1])

    def multiply(self, x: Any, width: int, bias: bool) -> Any:
        scale, self._scale = self._scale, 1.0
        x = _product(x, next(self._values), self._rates[:, None, None] * scale, scale)
        return x + self._vector(next(self._values)) if bias else x

    def normalize(self, x: Any) -> Any:
        """Return each member's activations after Keras' batch normalisation; in training, also update the averages."""
        import tensorflow as tf

        gamma, beta, *averages = (next(self._values) for _ in range(4))
        mean, variance = (average[:, None, :] for average in averages)
        if self._training:
            mean, variance = tf.nn.moments(x, axes=[1], keepdims=True)
            for average, value in zip(averages, (mean, variance), strict=True):
                average.assign(average * AVERAGE_MOMENTUM + value[:, 0, :] * (1 - AVERAGE_MOMENTUM))
        gamma, beta = self._vector(gamma), self._vector(beta)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, _EPSILON)

    def activate(self, x: Any, name: str) -> Any:
        import tensorflow as tf

        return getattr(tf.nn, name)(x)

    def drop(self, x: Any) -> Any:
        if not self._training or self._dropout is None:
            return x
        seed = self._seed + self._drops  # a different seed for each layer
        self._drops += 1
        return _drop(x, self._dropout, seed)

    def _vector(self, value: Any) -> Any:
        """Return a variable with one value per unit at its true scale, (members, 1, units)."""
        return _true(value, self._rates[:, None])[:, None, :]


def _true(stored: Any, rates: Any) -> Any:
    """Return the true weights, `stored * rates`. `stored` gets the gradient of the true weights."""
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def multiply(stored: Any) -> tuple[Any, Any]:
        return stored * rates, lambda upstream: upstream

    return multiply(tf.convert_to_tensor(stored))


def _product(x: Any, stored: Any, factor: Any, scale: float) -> Any:
    """Multiply `x * scale` by the true weights, which are `stored` times the learning rate.

    In the backward pass `stored` gets the gradient of the true weights in place of its own.

    Args:
        x: (members or 1, n, inputs), not yet scaled.
        stored: (members, inputs, outputs).
        factor: learning rate times `scale`, (members, 1, 1).
        scale: factor of `x`.
    """
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def multiply(x: Any, stored: Any) -> tuple[Any, Any]:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            back = tf.matmul(upstream * factor, stored, transpose_b=True)
            return back, tf.matmul(x, upstream * scale if scale != 1 else upstream, transpose_a=True)

        return tf.matmul(x, stored) * factor, gradient

    return multiply(x, tf.convert_to_tensor(stored))


def _drop(x: Any, rates: Any, seed: Any) -> Any:
    """Apply inverted dropout with one rate per member."""
    import tensorflow as tf

    share = rates[:, None, None]
    kept = tf.random.stateless_uniform(tf.shape(x), seed) >= share
    return tf.where(kept, x / (1 - share), 0.0)


def _column(numbers: Any, like: Any) -> Any:
    """Reshape one number per member, so that it can multiply an array (members, ...) of as many axes as `like`."""
    import tensorflow as tf

    return tf.reshape(numbers, [-1] + [1] * (len(like.shape) - 1))
