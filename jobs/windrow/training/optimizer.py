"""Optimizers: exactly Keras' Adam and SGD, as one fused operation per variable.

Whatever a trial may choose freely (learning rate and its decay, momentum, weight decay) is an argument of the compiled
epoch, so that the next trial needs no new graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.experiment.parameters import Value

# Keras' defaults.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


def learning_rates(parameters: Mapping[str, Value], start: int, steps: int, total: int) -> NDArray[np.float64]:
    """Return the learning rates of `steps` steps, the first of number `start` (from 0), in a trial of `total` steps."""
    rate = float(parameters["learning_rate"])
    if parameters["decay"] == "cosine":
        done = np.minimum(np.arange(start, start + steps) / max(1, total), 1.0)
        return rate * 0.5 * (1 + np.cos(np.pi * done))
    return np.full(steps, rate)


def step_sizes(parameters: Mapping[str, Value], rates: NDArray[np.float64], start: int) -> NDArray[np.float64]:
    """Return the size of each step: the learning rate; for Adam, multiplied by the bias correction of its averages."""
    if parameters["optimizer"] == "sgd":
        return rates
    taken = np.arange(start + 1, start + len(rates) + 1)
    return np.asarray(rates * np.sqrt(1 - BETA_2**taken) / (1 - BETA_1**taken))


def schedule(
    steps: int, parameters: Mapping[str, Value], epochs: int, number: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the step sizes of epoch `number` and the factors that shrink the weights at its steps, each (steps,)."""
    start = number * steps
    rates = learning_rates(parameters, start, steps, epochs * steps)
    shrinks = 1 - rates * float(parameters["weight_decay"])
    return step_sizes(parameters, rates, start).astype(np.float32), shrinks.astype(np.float32)


class Optimizer:
    """Adam or SGD over a network's variables; it keeps its moving averages in its own (slot) variables."""

    def __init__(self, kind: str, variables: Sequence[Any], decays: bool) -> None:
        """Begin with averages of zero.

        Args:
            kind: "adam" or "sgd".
            variables: the keras.Variables to train, or FreeVariables.
            decays: whether steps also shrink the weights (weight decay).
        """
        self._kind, self._variables, self._decays = kind, variables, decays
        averages = 1 if kind == "sgd" else 2
        self._slots = [[_zeros(variable) for _ in range(averages)] for variable in variables]

    def reset(self) -> None:
        """Set all averages to zero, as before the first step."""
        for variable, slots in zip(self._variables, self._slots, strict=True):
            for slot in slots:  # of the variable's present shape, which may be another than before
                slot.assign(np.zeros(variable.shape, slot.dtype.as_numpy_dtype))

    def apply(self, gradients: Sequence[Any], size: Any, shrink: Any, momentum: Any) -> None:
        """Take one step, inside a graph.

        Args:
            gradients: of the variables, in the same order; a variable whose gradient is None does not change.
            size: step size, float32 scalar.
            shrink: factor of the weights, float32 scalar; ignored without weight decay.
            momentum: float32 scalar; ignored by Adam.
        """
        import tensorflow as tf

        for variable, gradient, slots in zip(self._variables, gradients, self._slots, strict=True):
            if gradient is None:
                continue
            value = variable.value
            if self._decays:
                value.assign(value * tf.cast(shrink, value.dtype))
            self._step(value, slots, tf.convert_to_tensor(gradient), size, momentum)
            if variable.constraint is not None:
                value.assign(variable.constraint(value))

    def _step(self, value: Any, slots: Sequence[Any], gradient: Any, size: Any, momentum: Any) -> None:
        import tensorflow as tf

        def scalar(number: Any) -> Any:
            return tf.cast(number, value.dtype)

        if self._kind == "sgd":
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=value.handle, accum=slots[0].handle, lr=scalar(size), grad=gradient, momentum=scalar(momentum)
            )
            return
        # Beta powers set to 0 turn off the operation's bias correction; step_sizes() has already applied it.
        tf.raw_ops.ResourceApplyAdam(
            var=value.handle,
            m=slots[0].handle,
            v=slots[1].handle,
            beta1_power=scalar(0),
            beta2_power=scalar(0),
            lr=scalar(size),
            beta1=scalar(BETA_1),
            beta2=scalar(BETA_2),
            epsilon=scalar(EPSILON),
            grad=gradient,
        )


def _zeros(variable: Any) -> Any:
    """Return a tf.Variable of zeros, of the shape that the variable has and may have."""
    import tensorflow as tf

    zeros = tf.zeros(variable.shape, variable.dtype)
    return tf.Variable(zeros, trainable=False, shape=variable.value.shape)
