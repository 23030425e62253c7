"""The training loop: one compiled graph an epoch instead of a Python loop over batches.

Dense networks train several times faster this way than with keras.fit, small CNNs about 1.5 times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.training.augment import shift_and_rotate
from windrow.training.parameters import Value

_EVALUATION_BATCH = 512


@dataclass(frozen=True)
class Examples:
    """Images, uint8 (n, height, width, channels), and their labels, int64 (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch. Losses are mean cross-entropies in nats, accuracies shares in 0..1."""

    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float

    @property
    def finite(self) -> bool:
        """Whether training may go on: neither loss is infinite or not a number."""
        return math.isfinite(self.loss) and math.isfinite(self.val_loss)

    def metrics(self) -> dict[str, float]:
        """The same by name, as MLflow and the objective know them."""
        return asdict(self)


def train(
    network: Any, training: Examples, validation: Examples, parameters: Mapping[str, Value], epochs: int, seed: int
) -> Iterator[Epoch]:
    """Train in place, one Epoch at a time; stop iterating to stop training.

    `parameters` holds every key of parameters.TRAINING. The same seed on the same kind of processor
    gives the same epochs up to the order in which threads add.
    """
    import tensorflow as tf

    batch = min(int(parameters["batch_size"]), len(training))
    steps = len(training) // batch
    run_epoch = _compile_epoch(network, training, parameters, batch, steps, epochs)
    evaluate = compile_evaluation(network, validation)
    for number in range(epochs):
        start = perf_counter()
        loss, accuracy = run_epoch(tf.constant([seed, number], tf.int32))
        val_loss, val_accuracy = evaluate()
        yield Epoch(float(loss), float(accuracy), val_loss, val_accuracy, perf_counter() - start)


def _compile_epoch(
    network: Any, training: Examples, parameters: Mapping[str, Value], batch: int, steps: int, epochs: int
) -> Any:
    """A function seed → (mean loss, accuracy) that trains for one epoch in one call."""
    import tensorflow as tf

    images, labels = tf.constant(training.images), tf.constant(training.labels)
    optimizer = _optimizer(parameters, steps * epochs)
    optimizer.build(network.trainable_variables)
    shift, rotation = float(parameters["shift"]), float(parameters["rotation"])
    trained, loss_of = _with_logits(network)

    def step(number: Any, order: Any, seed: Any) -> tuple[Any, Any]:
        rows = order[number * batch : (number + 1) * batch]
        pixels = tf.cast(tf.gather(images, rows), tf.float32)
        truth = tf.gather(labels, rows)
        if shift or rotation:
            pixels = shift_and_rotate(pixels, seed + number, shift, rotation)
        with tf.GradientTape() as tape:
            outputs = trained(pixels, training=True)
            loss = tf.reduce_mean(loss_of(truth, outputs))
            total = tf.add_n([loss, *network.losses]) if network.losses else loss
        optimizer.apply(tape.gradient(total, network.trainable_variables), network.trainable_variables)
        return loss, tf.reduce_mean(tf.cast(tf.equal(tf.argmax(outputs, -1), truth), tf.float32))

    # autograph off: it would read this module's source, which on an executor lies in a zip.
    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def run_epoch(seed: Any) -> tuple[Any, Any]:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(training)), seed)

        def body(number: Any, loss: Any, accuracy: Any) -> tuple[Any, Any, Any]:
            step_loss, step_accuracy = step(number, order, seed)
            return number + 1, loss + step_loss, accuracy + step_accuracy

        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0))
        _, loss, accuracy = tf.while_loop(lambda number, *_: number < steps, body, start, parallel_iterations=1)
        return loss / steps, accuracy / steps

    return run_epoch


def compile_evaluation(network: Any, split: Examples) -> Any:
    """A function () → (mean loss, accuracy) over a split, without dropout."""
    import tensorflow as tf

    images, labels = tf.constant(split.images), tf.constant(split.labels)
    evaluated, loss_of = _with_logits(network)
    steps = math.ceil(len(split) / _EVALUATION_BATCH)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def run() -> tuple[Any, Any]:
        def body(number: Any, loss: Any, correct: Any) -> tuple[Any, Any, Any]:
            start = number * _EVALUATION_BATCH
            end = tf.minimum(start + _EVALUATION_BATCH, len(split))
            truth = labels[start:end]
            outputs = evaluated(tf.cast(images[start:end], tf.float32), training=False)
            hits = tf.reduce_sum(tf.cast(tf.equal(tf.argmax(outputs, -1), truth), tf.float32))
            return number + 1, loss + tf.reduce_sum(loss_of(truth, outputs)), correct + hits

        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0))
        _, loss, correct = tf.while_loop(lambda number, *_: number < steps, body, start, parallel_iterations=1)
        return loss / len(split), correct / len(split)

    def evaluate() -> tuple[float, float]:
        loss, accuracy = run()
        return float(loss), float(accuracy)

    return evaluate


def _with_logits(network: Any) -> tuple[Any, Any]:
    """The network up to its logits where its last layer is a Softmax, for a stabler loss; and the loss that fits."""
    import keras

    crossentropy = keras.ops.sparse_categorical_crossentropy
    last = network.layers[-1]
    if isinstance(last, keras.layers.Softmax):
        upto = keras.Model(network.inputs, last.input)
        return upto, lambda truth, logits: crossentropy(truth, logits, from_logits=True)
    return network, lambda truth, probabilities: crossentropy(truth, probabilities, from_logits=False)


def _optimizer(parameters: Mapping[str, Value], steps: int) -> Any:
    from keras import optimizers

    rate: Any = float(parameters["learning_rate"])
    if parameters["decay"] == "cosine":
        rate = optimizers.schedules.CosineDecay(rate, decay_steps=max(1, steps))
    decay = float(parameters["weight_decay"]) or None
    if parameters["optimizer"] == "sgd":
        return optimizers.SGD(rate, momentum=float(parameters["momentum"]), weight_decay=decay)
    return optimizers.Adam(rate, weight_decay=decay)
