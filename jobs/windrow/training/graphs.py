"""A network with its compiled training epoch and its compiled evaluation.

Arrays, seed, learning rates and whatever else a trial may choose freely are arguments of the graphs: one graph serves
every trial of an architecture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.training import layers, optimizer
from windrow.training.augment import shift_and_rotate
from windrow.training.data import Examples, tensors
from windrow.training.optimizer import Optimizer
from windrow.training.parameters import Value

_EVALUATION_BATCH = 512
# Dropout draws from other seeds than the shuffle and the augmentation: a stride a step leaves room for the layers.
_DROPOUT_STREAM, _LAYERS_A_STEP = 1 << 30, 128


@dataclass(frozen=True)
class Plan:
    """What a training epoch's graph depends on, besides the network. `steps` an epoch of `batch` of `count` images."""

    batch: int
    steps: int
    count: int
    optimizer: str
    augments: bool
    decays: bool

    @classmethod
    def of(cls, parameters: Mapping[str, Value], count: int) -> Plan:
        """The plan for `count` training images. `parameters` holds every key of parameters.TRAINING."""
        batch = min(int(parameters["batch_size"]), count)
        return cls(
            batch,
            count // batch,
            count,
            str(parameters["optimizer"]),
            bool(parameters["shift"] or parameters["rotation"]),
            bool(parameters["weight_decay"]),
        )


@dataclass(frozen=True)
class Forward:
    """A network in a graph: (float32 images, training, dropout, seed) → outputs, and the loss an image of those."""

    outputs: Callable[..., Any]
    loss: Callable[[Any, Any], Any]


def built_in(network: Any) -> Forward:
    """A network of networks.py, up to its logits."""

    def outputs(images: Any, training: bool, dropout: Any = None, seed: Any = None) -> Any:
        return layers.logits(network, images, training, dropout, seed)

    return Forward(outputs, _crossentropy_of_logits)


def of_keras(network: Any) -> Forward:
    """Any network; up to its logits where its last layer is a Softmax, for a stabler loss."""
    import keras
    import tensorflow as tf

    last = network.layers[-1]
    ends_in_softmax = isinstance(last, keras.layers.Softmax)
    called = keras.Model(network.input, last.input) if ends_in_softmax else network

    def outputs(images: Any, training: bool, *_: Any) -> Any:
        return tf.cast(called(images, training=training), tf.float32)  # a user's network may compute in float16

    return Forward(outputs, _crossentropy_of_logits if ends_in_softmax else keras.ops.sparse_categorical_crossentropy)


def _crossentropy_of_logits(truth: Any, logits: Any) -> Any:
    import tensorflow as tf

    return tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)


class Trainer:
    """Trains a network in place, an epoch a call."""

    def __init__(self, network: Any, forward: Forward, plan: Plan) -> None:
        self._network, self._forward, self._plan = network, forward, plan
        self._optimizer = Optimizer(plan.optimizer, network.trainable_variables, plan.decays)
        self._compiled = self._compile()

    def reset(self) -> None:
        """Forget every step, for another trial."""
        self._optimizer.reset()

    def epoch(
        self, data: tuple[Any, Any], parameters: Mapping[str, Value], epochs: int, seed: int, number: int
    ) -> tuple[float, float]:
        """Mean loss and accuracy of epoch `number` (from 0) of `epochs`, on images and labels as tensors."""
        import tensorflow as tf

        sizes, shrinks = schedule(self._plan.steps, parameters, epochs, number)
        free = {
            name: tf.constant(float(parameters.get(name, 0)), tf.float32)
            for name in ("momentum", "dropout", "shift", "rotation")
            if not isinstance(parameters.get(name), (str, bool))
        }
        loss, accuracy = self._compiled(
            *data, tf.constant([seed, number], tf.int32), tf.constant(sizes), tf.constant(shrinks), free
        )
        return float(loss), float(accuracy)

    def _compile(self) -> Any:
        import tensorflow as tf

        plan = self._plan

        # autograph off: it would read this module's source, which on an executor lies in a zip.
        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def run(images: Any, labels: Any, seed: Any, sizes: Any, shrinks: Any, free: Any) -> tuple[Any, Any]:
            shuffled = tf.random.experimental.stateless_shuffle(tf.range(plan.count), seed)
            order = tf.reshape(shuffled[: plan.steps * plan.batch], [plan.steps, plan.batch])

            def body(number: Any, loss: Any, hits: Any) -> tuple[Any, Any, Any]:
                rows = order[number]
                pixels, truth = tf.cast(tf.gather(images, rows), tf.float32), tf.gather(labels, rows)
                if plan.augments:
                    moved = shift_and_rotate(pixels, seed + number, free["shift"], free["rotation"])
                    pixels = tf.ensure_shape(moved, pixels.shape)
                drawn = seed + tf.stack([number * _LAYERS_A_STEP, _DROPOUT_STREAM])
                step_loss, outputs = self._step(pixels, truth, drawn, sizes[number], shrinks[number], free)
                return number + 1, loss + step_loss, hits + _hits(truth, outputs)

            start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0))
            _, loss, hits = tf.while_loop(lambda number, *_: number < plan.steps, body, start, parallel_iterations=1)
            return loss / plan.steps, hits / (plan.steps * plan.batch)

        return run

    def _step(self, pixels: Any, truth: Any, seed: Any, size: Any, shrink: Any, free: Any) -> tuple[Any, Any]:
        """Train on one batch; its mean loss and the outputs."""
        import tensorflow as tf

        values = [variable.value for variable in self._network.trainable_variables]
        with tf.GradientTape() as tape:
            outputs = self._forward.outputs(pixels, True, free["dropout"], seed)
            loss = tf.reduce_mean(self._forward.loss(truth, outputs))
            penalties = self._network.losses
            total = tf.add_n([loss, *(tf.cast(penalty, tf.float32) for penalty in penalties)]) if penalties else loss
        self._optimizer.apply(tape.gradient(total, values), size, shrink, free["momentum"])
        return loss, outputs


def schedule(
    steps: int, parameters: Mapping[str, Value], epochs: int, number: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Step sizes of epoch `number` and what its steps multiply the weights with, each (steps,)."""
    start = number * steps
    rates = optimizer.learning_rates(parameters, start, steps, epochs * steps)
    shrinks = 1 - rates * float(parameters["weight_decay"])
    return optimizer.step_sizes(parameters, rates, start).astype(np.float32), shrinks.astype(np.float32)


def _hits(truth: Any, outputs: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(outputs, -1), truth), tf.float32))


def evaluation(forward: Forward, count: int) -> Any:
    """A compiled function (images, labels) → (mean loss, accuracy) over all `count` of them, without dropout."""
    import tensorflow as tf

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def run(images: Any, labels: Any) -> tuple[Any, Any]:
        def measure(start: Any, end: Any) -> tuple[Any, Any]:
            truth = labels[start:end]
            outputs = forward.outputs(tf.cast(images[start:end], tf.float32), False)
            return tf.reduce_sum(forward.loss(truth, outputs)), _hits(truth, outputs)

        def body(number: Any, loss: Any, hits: Any) -> tuple[Any, Any, Any]:
            start = number * _EVALUATION_BATCH
            more_loss, more_hits = measure(start, tf.minimum(start + _EVALUATION_BATCH, count))
            return number + 1, loss + more_loss, hits + more_hits

        steps = math.ceil(count / _EVALUATION_BATCH)
        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0))
        _, loss, hits = tf.while_loop(lambda number, *_: number < steps, body, start, parallel_iterations=1)
        return loss / count, hits / count

    return run


def compile_evaluation(network: Any, split: Examples) -> Callable[[], tuple[float, float]]:
    """A function () → (mean loss, accuracy) of any keras.Model over a split, without dropout."""
    run, data = evaluation(of_keras(network), len(split)), tensors(split)

    def evaluate() -> tuple[float, float]:
        loss, accuracy = run(*data)
        return float(loss), float(accuracy)

    return evaluate
