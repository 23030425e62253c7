"""Compile the training epoch and the evaluation of a stack of dense networks, as graphs.py does for one network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.experiment.parameters import Value
from windrow.training import graphs, macro_f1, optimizer
from windrow.training.forward import crossentropy
from windrow.training.graphs import Graph
from windrow.training.stacked import NetworkStack

ClassWeights = NDArray[np.float32] | None

EFFECTS = ("dropout", "weight_decay", "label_smoothing")
"""Hyper-parameters that are numbers and have operations of their own in a step, left out if no member has them."""


@dataclass(frozen=True)
class Member:
    """One trial of a fused group: all its hyper-parameters, and the seed of its weights and random draws."""

    parameters: Mapping[str, Value]
    seed: int


class StackTrainer:
    """A stack with its compiled training epoch and evaluation.

    Args:
        stack: the networks.
        batch: images per step.
        effects: the numbers in EFFECTS that are above 0 for a member; a step is quicker without the others.
        classes: number of classes, if the evaluation measures macro-F1 as well.
    """

    def __init__(self, stack: NetworkStack, batch: int, effects: frozenset[str], classes: int | None = None) -> None:
        self.stack, self._batch, self._effects, self._classes = stack, batch, effects, classes
        self.lent_to: object = None
        self._train, self._evaluate = Graph(self._epoch), Graph(self._evaluation)

    def epoch(
        self, data: tuple[Any, Any], members: Sequence[Member], epochs: int, number: int, weights: ClassWeights = None
    ) -> NDArray[np.floating[Any]]:
        """Train for epoch `number` of `epochs`; return a row per member.

        A row has loss, accuracy, validation loss, validation accuracy and, if it is measured, validation macro-F1.
        """
        training, validation = data
        trained = self.steps(training, members, epochs, number, weights)
        return np.stack([value.numpy() for value in (*trained, *self._evaluate(*validation))], axis=1)

    def steps(
        self, data: tuple[Any, Any], members: Sequence[Member], epochs: int, number: int, weights: ClassWeights = None
    ) -> tuple[Any, Any]:
        """Train for epoch `number` of `epochs` without evaluation; return mean loss and accuracy, (members,) each.

        `weights`: weights of the classes in the loss, (classes,); None for 1.
        """
        import tensorflow as tf

        drawn = [graphs.rows(data, member.parameters, member.seed, number, self._batch) for member in members]
        orders = tf.stack(drawn, axis=1)
        # The sizes are for a learning rate of 1, because the stack multiplies by each member's own rate.
        unit = {**members[0].parameters, "learning_rate": 1.0, "weight_decay": 0.0}
        sizes, _ = optimizer.schedule(len(orders), unit, epochs, number)
        shrinks = [optimizer.schedule(len(orders), member.parameters, epochs, number)[1] for member in members]
        free = {
            name: tf.constant([float(member.parameters[name]) for member in members], tf.float32)
            for name in ("momentum", "dropout", "label_smoothing")
        }
        if weights is not None:
            free["class_weights"] = tf.constant(weights)
        seed = tf.constant([members[0].seed, number], tf.int32)
        return self._train(*data, orders, seed, tf.constant(sizes), tf.constant(np.stack(shrinks, axis=1)), free)  # type: ignore[no-any-return]

    def _epoch(
        self, images: Any, labels: Any, order: Any, seed: Any, sizes: Any, shrinks: Any, free: Any
    ) -> tuple[Any, Any]:
        import tensorflow as tf

        flat = tf.reshape(images, [-1, math.prod(images.shape[1:])])
        views = tf.shape(images)[0] // tf.shape(labels)[0]
        dropout = free["dropout"] if "dropout" in self._effects else None
        smoothing = free["label_smoothing"][:, None] if "label_smoothing" in self._effects else None

        def body(number: Any, loss: Any, hits: Any) -> tuple[Any, Any, Any]:
            rows = order[number]
            pixels, truth = tf.cast(tf.gather(flat, rows), tf.float32), tf.gather(labels, rows // views)
            drawn = seed + tf.stack([number * graphs.LAYERS_A_STEP, graphs.DROPOUT_STREAM])
            with tf.GradientTape() as tape:
                logits = self.stack.logits(pixels, True, dropout, drawn)
                losses = crossentropy(truth, logits, smoothing)
                losses = tf.reduce_mean(graphs.weighed(losses, truth, free.get("class_weights")), axis=1)
            gradients = tape.gradient(losses, self.stack.trained)
            shrink = shrinks[number] if "weight_decay" in self._effects else None
            self.stack.apply(gradients, sizes[number], shrink, free["momentum"])
            # With numbers of each member, (members,), the sums of a stack of one have lost their length.
            sums = [tf.ensure_shape(each, zero.shape) for each in (loss + losses, hits + _hits(truth, logits))]
            return (number + 1, *sums)

        steps = tf.shape(order)[0]
        zero = tf.zeros(self.stack.members)
        _, loss, hits = tf.while_loop(
            lambda number, *_: number < steps, body, (tf.constant(0), zero, zero), parallel_iterations=1
        )
        taken = tf.cast(steps, tf.float32)
        return loss / taken, hits / (taken * self._batch)

    def _evaluation(self, images: Any, labels: Any) -> tuple[Any, ...]:
        import tensorflow as tf

        members, classes = self.stack.members, self._classes

        def measure(images: Any, labels: Any) -> tuple[Any, ...]:
            pixels = tf.reshape(tf.cast(images, tf.float32), [1, -1, math.prod(images.shape[1:])])
            logits = self.stack.logits(pixels, False, None, None)
            truth = tf.tile(labels[None], [members, 1])
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)
            sums = tf.reduce_sum(losses, axis=1), _hits(truth, logits)
            return sums if classes is None else (*sums, macro_f1.count(truth, logits, classes))

        zeros = [tf.zeros(members)] * 2
        if classes is not None:
            zeros.append(tf.zeros((members, classes, 3)))
        return graphs.in_pieces(images, labels, measure, zeros)


def _hits(truth: Any, logits: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, -1), truth), tf.float32), axis=1)
