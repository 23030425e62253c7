"""Compile a network's training epoch and its evaluation into TensorFlow graphs.

Arrays, seed, learning rates and whatever else a trial may choose freely are arguments of the graphs, so that one graph
serves every trial of a kind of network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.experiment.parameters import Value
from windrow.training import augment, macro_f1, optimizer
from windrow.training.data import Examples, tensors
from windrow.training.forward import Forward, of_keras
from windrow.training.optimizer import Optimizer

_EVALUATION_BATCH = 512
# A backbone's first layers hold several times the values of their images: at 224 pixels, 55 images take 0.3 GB.
_EVALUATION_VALUES = 1 << 23
# The stream gives dropout other seeds than the shuffle and the augmentation; the stride leaves a seed for each layer.
DROPOUT_STREAM, LAYERS_A_STEP = 1 << 30, 128
_VIEW_STREAM = 3 << 29  # and the choice of views others again
_FREE = ("momentum", "dropout", "shift", "rotation", "label_smoothing")
_FREE_IF_ON = ("zoom", "contrast", "brightness")


@dataclass(frozen=True)
class EpochPlan:
    """The settings that a training epoch's graph depends on, in addition to the network.

    Attributes:
        batch: images per step; None if each trial may choose.
        augments: the changes of augment.kinds.
        decays: whether steps also shrink the weights.
        weighs: whether the loss has a weight per class.
        smooths: whether the loss gives a share of each label to all classes.
    """

    batch: int | None
    optimizer: str
    augments: tuple[str, ...]
    decays: bool
    weighs: bool
    smooths: bool

    @classmethod
    def of(cls, parameters: Mapping[str, Value], batch: int | None) -> EpochPlan:
        """Return the plan for batches of `batch` images. `parameters` must have every key of parameters.TRAINING."""
        return cls(
            batch,
            str(parameters["optimizer"]),
            augment.kinds(parameters),
            bool(parameters["weight_decay"]),
            parameters["class_weight"] != "none",
            bool(parameters["label_smoothing"]),
        )


def batch_size(parameters: Mapping[str, Value], count: int) -> int:
    """Return the number of images per step for `count` training images."""
    return min(int(parameters["batch_size"]), count)


def order(seed: int, number: int, count: int, batch: int) -> Any:
    """Draw the batches of epoch `number` from `count` images, int32 (steps, batch); an incomplete batch is left out."""
    import tensorflow as tf

    shuffled = tf.random.experimental.stateless_shuffle(tf.range(count), [seed, number])
    return tf.reshape(shuffled[: count // batch * batch], [-1, batch])


def rows(data: tuple[Any, Any], parameters: Mapping[str, Value], seed: int, number: int, batch: int) -> Any:
    """Draw the batches of epoch `number` as `order` does; return the row of each image in data[0], int32.

    Where images have views, there are several rows per label. Each image of a batch is then one of its first
    `parameters["views"]` views, drawn by chance.

    Raises:
        ValueError: the trial has more views than are stored, where more than one is.
    """
    import tensorflow as tf

    drawn, stored = order(seed, number, len(data[1]), batch), len(data[0]) // len(data[1])
    if stored == 1:  # pixels, too, of which a network of one's own may have a parameter of this name
        return drawn
    views = int(parameters["views"])
    if views > stored:
        raise ValueError(f"a trial's views must be stored; got {stored:,} for {views:,}; run embed_images.py again")
    chosen = tf.random.stateless_uniform(tf.shape(drawn), [seed, number + _VIEW_STREAM], 0, views, tf.int32)
    return drawn * stored + chosen


class Graph:
    """A function of tensors, traced once, at the first call, for any length of the first axis (the batch)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function  # keeps the variables alive: a traced graph has only weak references
        self._traced: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """Call the function with tensors, and return its result as tensors."""
        if self._traced is None:
            self._traced = self._trace(arguments)
        return self._traced(*arguments)

    def _trace(self, arguments: Sequence[Any]) -> Any:
        import tensorflow as tf

        specs = tf.nest.map_structure(
            lambda tensor: tf.TensorSpec([None, *tensor.shape[1:]] if tensor.shape.rank else [], tensor.dtype),
            arguments,
        )
        # Without autograph, which would read this module's source; on an executor, that is inside a zip. And not traced
        # by calling the tf.function, which would warn of too many traces in a loop over architectures.
        return tf.function(self._function, autograph=False).get_concrete_function(*specs)


class Trainer:
    """Trains a network in place, one epoch per call."""

    def __init__(self, network: Any, forward: Forward, plan: EpochPlan) -> None:
        self._network, self._forward, self._plan = network, forward, plan
        self._optimizer = Optimizer(plan.optimizer, network.trainable_variables, plan.decays)
        self._compiled = Graph(self._epoch)

    def reset(self) -> None:
        """Reset the optimizer before another trial."""
        self._optimizer.reset()

    def epoch(
        self,
        data: tuple[Any, Any],
        parameters: Mapping[str, Value],
        epochs: int,
        seed: int,
        number: int,
        weights: NDArray[np.float32] | None = None,
    ) -> tuple[float, float]:
        """Train for epoch `number` (from 0) of `epochs`, on image and label tensors; return mean loss and accuracy.

        `weights`: weights of the classes in the loss, (classes,); None if the plan does not weigh them.
        """
        import tensorflow as tf

        batches = rows(data, parameters, seed, number, batch_size(parameters, len(data[1])))
        sizes, shrinks = optimizer.schedule(len(batches), parameters, epochs, number)
        names = (*_FREE, *(name for name in _FREE_IF_ON if name in self._plan.augments))
        free = {name: tf.constant(_number(parameters, name)) for name in names}
        if weights is not None:
            free["class_weights"] = tf.constant(weights)
        loss, accuracy = self._compiled(
            *data,
            tf.reshape(batches, [-1]),
            tf.constant([seed, number], tf.int32),
            tf.constant(sizes),
            tf.constant(shrinks),
            free,
        )
        return float(loss), float(accuracy)

    def _epoch(
        self, images: Any, labels: Any, order: Any, seed: Any, sizes: Any, shrinks: Any, free: Any
    ) -> tuple[Any, Any]:
        import tensorflow as tf

        views = tf.shape(images)[0] // tf.shape(labels)[0]
        steps = tf.shape(sizes)[0]
        order = tf.reshape(order, [steps, -1 if self._plan.batch is None else self._plan.batch])

        def body(number: Any, loss: Any, hits: Any) -> tuple[Any, Any, Any]:
            rows = order[number]
            pixels, truth = tf.cast(tf.gather(images, rows), tf.float32), tf.gather(labels, rows // views)
            if self._plan.augments:
                changed = augment.augment(pixels, seed + number, free, self._plan.augments)
                pixels = tf.ensure_shape(changed, pixels.shape)
            drawn = seed + tf.stack([number * LAYERS_A_STEP, DROPOUT_STREAM])
            step_loss, outputs = self._step(pixels, truth, drawn, sizes[number], shrinks[number], free)
            return number + 1, loss + step_loss, hits + _hits(truth, outputs)

        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0))
        _, loss, hits = tf.while_loop(lambda number, *_: number < steps, body, start, parallel_iterations=1)
        taken = tf.cast(steps, tf.float32)
        return loss / taken, hits / (taken * tf.cast(tf.shape(order)[1], tf.float32))

    def _step(self, pixels: Any, truth: Any, seed: Any, size: Any, shrink: Any, free: Any) -> tuple[Any, Any]:
        """Train on one batch; return its mean loss and the outputs."""
        import tensorflow as tf

        values = [variable.value for variable in self._network.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(values)  # a layer that was saved as frozen has variables that no tape watches by itself
            outputs = self._forward.outputs(pixels, True, free["dropout"], seed)
            losses = self._forward.loss(truth, outputs, free["label_smoothing"] if self._plan.smooths else None)
            loss = tf.reduce_mean(weighed(losses, truth, free.get("class_weights")))
            penalties = self._network.losses
            total = tf.add_n([loss, *(tf.cast(penalty, tf.float32) for penalty in penalties)]) if penalties else loss
        self._optimizer.apply(tape.gradient(total, values), size, shrink, free["momentum"])
        return loss, outputs


def weighed(losses: Any, truth: Any, weights: Any) -> Any:
    """Multiply each image's loss, (..., n), by the weight of its class; `weights` is (classes,), or None for 1."""
    import tensorflow as tf

    return losses if weights is None else losses * tf.gather(weights, truth)


def _number(parameters: Mapping[str, Value], name: str) -> NDArray[np.float32]:
    """Return a hyper-parameter as a number; 0 if it is text or the network does not have it."""
    value = parameters.get(name, 0.0)
    return np.asarray(0.0 if isinstance(value, str) else value, np.float32)


def _hits(truth: Any, outputs: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(outputs, -1), truth), tf.float32))


def evaluation(forward: Forward, classes: int | None = None, batch: int = _EVALUATION_BATCH) -> Graph:
    """Compile (images, labels) → (mean loss, accuracy, and macro-F1 if `classes` is given), without dropout.

    `batch`: images that are evaluated at once, which determines the memory that this needs.
    """
    import tensorflow as tf

    def measure(images: Any, labels: Any) -> tuple[Any, ...]:
        outputs = forward.outputs(tf.cast(images, tf.float32), False)
        sums = tf.reduce_sum(forward.loss(labels, outputs, None)), _hits(labels, outputs)
        return sums if classes is None else (*sums, macro_f1.count(labels, outputs, classes))

    zeros = [tf.constant(0.0)] * 2 + ([] if classes is None else [tf.zeros((classes, 3))])
    return Graph(lambda images, labels: in_pieces(images, labels, measure, zeros, batch))


def in_pieces(
    images: Any,
    labels: Any,
    measure: Callable[..., tuple[Any, ...]],
    zeros: Sequence[Any],
    batch: int = _EVALUATION_BATCH,
) -> tuple[Any, ...]:
    """Evaluate batch by batch, inside a graph, and return mean loss, accuracy and, if they are counted, macro-F1.

    Args:
        images: tensor (n, ...).
        labels: tensor (n,).
        measure: (images, labels) of a batch → sums of losses and hits, and perhaps the counts of macro_f1.count.
        zeros: initial value of each sum.
        batch: images in a batch.
    """
    import tensorflow as tf

    count = tf.shape(labels)[0]

    def body(start: Any, *sums: Any) -> tuple[Any, ...]:
        end = tf.minimum(start + batch, count)
        pairs = zip(sums, measure(images[start:end], labels[start:end]), strict=True)
        return end, *(done + more for done, more in pairs)

    _, loss, hits, *counts = tf.while_loop(
        lambda start, *_: start < count, body, (tf.constant(0), *zeros), parallel_iterations=1
    )
    return loss / tf.cast(count, tf.float32), hits / tf.cast(count, tf.float32), *map(macro_f1.of, counts)


def compile_evaluation(
    network: Any, split: Examples
) -> Callable[[], tuple[float, NDArray[np.int64], NDArray[np.float32]]]:
    """Compile the evaluation of any keras.Model over a split, without dropout.

    The function returns mean loss in nats, predicted labels (n,), and these labels' probabilities (n,) in 0..1.
    """
    import tensorflow as tf

    forward, (images, labels) = of_keras(network), tensors(split)

    def measure(images: Any, labels: Any) -> tuple[Any, Any, Any]:
        outputs = forward.outputs(tf.cast(images, tf.float32), False)
        confidence = tf.reduce_max(forward.probabilities(outputs), -1)
        return tf.reduce_sum(forward.loss(labels, outputs, None)), tf.argmax(outputs, -1), confidence

    graph = Graph(measure)

    def evaluate() -> tuple[float, NDArray[np.int64], NDArray[np.float32]]:
        size = max(1, min(_EVALUATION_BATCH, _EVALUATION_VALUES // max(1, math.prod(images.shape[1:]))))
        starts = range(0, len(split), size)
        parts = [graph(images[at : at + size], labels[at : at + size]) for at in starts]
        loss = sum(float(loss) for loss, _, _ in parts) / len(split)
        predicted, confidence = (np.concatenate([part[place].numpy() for part in parts]) for place in (1, 2))
        return loss, predicted, confidence

    return evaluate
