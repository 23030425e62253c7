"""The time of an epoch: Windrow, a hand-written graph loop and keras.fit on arrays; and fused trials against solo ones.

    python bench/epoch.py --mnist FOLDER [--json FILE]

One thread, batches of 128, Adam, 54,000 images to train on and 6,000 to validate on, each epoch and in each way. The
ways take turns; a figure is the median of the rounds after one that compiles, a ratio the median of the rounds' ratios,
so that a busy machine disturbs it less.
FOLDER holds train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

import report
from windrow.data import idx
from windrow.experiment import parameters
from windrow.training import fused, loop, runtime
from windrow.training.dense import AVERAGE_MOMENTUM
from windrow.training.loop import Examples
from windrow.training.networks import Builder

BATCH, VALIDATION_BATCH, VALIDATION = 128, 512, 6000
SHAPE, CLASSES, ENDLESS = (28, 28, 1), 10, 100_000
Way = Callable[[], object]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "dense-32": ("dense", {"units": 32}),
    "dense-128": ("dense", {"units": 128}),
    "small CNN": ("cnn", {}),
    "small CNN, plain": ("cnn", {"batch_norm": False, "dropout": 0.0}),
}
MEMBERS = (1, 2, 4, 8, 16)
METHODS = {"keras.fit": "keras.fit on arrays", "by hand": "hand-written graph loop", "windrow": "Windrow"}


def main() -> None:
    """Measure and print."""
    options = parse_args()
    runtime.import_tensorflow(threads=1)
    training, validation = split(options.mnist, options.images)
    solo = {name: compare(name, training, validation, options.rounds) for name in options.cases}
    stacks = {
        name: {count: fuse(name, count, training, validation, options.rounds) for count in options.members}
        for name in options.cases
        if name.startswith("dense")
    }
    if options.json:
        rows = [
            {"network": name, "method": method, "seconds": solo[name][way]}
            for name in solo
            for way, method in METHODS.items()
        ]
        options.json.parent.mkdir(parents=True, exist_ok=True)
        values = {"machine": report.machine(1), "rows": rows, "seconds": solo, "fused": stacks}
        options.json.write_text(json.dumps(values, indent=1) + "\n")


def parse_args() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--mnist", type=Path, required=True, help="folder with MNIST's training files")
    parser.add_argument("--json", type=Path, help="where to write the seconds")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    parser.add_argument("--images", type=int, default=54_000, help="images to train on (default: 54000)")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES, help="networks (default: all)")
    parser.add_argument("--members", nargs="*", type=int, default=MEMBERS, help="sizes of fused groups")
    return parser.parse_args()


def split(folder: Path, images: int) -> tuple[Examples, Examples]:
    """The first `images` images, and the last ones for validation."""
    pixels, labels = idx.read_pair(folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz")
    return Examples(pixels[:images], labels[:images]), Examples(pixels[-VALIDATION:], labels[-VALIDATION:])


def compare(name: str, training: Examples, validation: Examples, rounds: int) -> dict[str, float]:
    """Seconds of an epoch, each way, and their ratios; prints a line."""
    builder, changes = CASES[name]
    values = {**parameters.defaults(builder), **changes}
    times = in_turns(
        {
            "windrow": windrow(builder, values, training, validation),
            "by hand": by_hand(builder, values, training, validation),
            "keras.fit": keras_fit(builder, values, training, validation),
        },
        rounds,
    )
    found = {way: statistics.median(seconds) for way, seconds in times.items()}
    found["windrow / by hand"] = ratio(times["windrow"], times["by hand"])
    found["keras.fit / windrow"] = ratio(times["keras.fit"], times["windrow"])
    print(f"{name:17}", "   ".join(f"{key} {value:.3f}" for key, value in found.items()), flush=True)
    return found


def fuse(name: str, count: int, training: Examples, validation: Examples, rounds: int) -> dict[str, float]:
    """Seconds of an epoch of `count` fused trials and of one alone, and the gain; prints a line."""
    builder, changes = CASES[name]
    values = {**parameters.defaults(builder), **changes}
    members = [fused.Member({**values, "learning_rate": 1e-3 / (1 + seed)}, seed) for seed in range(count)]
    group = fused.prepare(Builder(builder), members, SHAPE, CLASSES, training, validation, ENDLESS).epochs()
    times = in_turns(
        {"fused": lambda: next(group), "solo": windrow(builder, values, training, validation)},
        rounds,
    )
    found = {way: statistics.median(seconds) for way, seconds in times.items()}
    found["gain"] = count * ratio(times["solo"], times["fused"])
    print(
        f"{name:17} {count:2} members   ", "   ".join(f"{key} {value:.3f}" for key, value in found.items()), flush=True
    )
    return found


def in_turns(ways: Mapping[str, Way], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, a figure a round."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(1 + rounds):
        for name, way in ways.items():
            start = perf_counter()
            way()
            taken[name].append(perf_counter() - start)
    return {name: times[1:] for name, times in taken.items()}


def ratio(upper: Sequence[float], lower: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(upper, lower, strict=True))


def windrow(builder: str, values: dict[str, Any], training: Examples, validation: Examples) -> Way:
    """Windrow's loop."""
    run = loop.prepare(Builder(builder), values, SHAPE, CLASSES, training, validation, ENDLESS, 1)
    epochs = run.epochs()
    return lambda: next(epochs)


def keras_fit(builder: str, values: dict[str, Any], training: Examples, validation: Examples) -> Way:
    """keras.fit on float32 arrays, the default of many scripts."""
    network = Builder(builder).build(values, SHAPE, CLASSES)
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    arrays = (training.images.astype(np.float32), training.labels)
    held_out = (validation.images.astype(np.float32), validation.labels)
    return lambda: network.fit(
        *arrays, batch_size=BATCH, verbose=0, validation_data=held_out, validation_batch_size=VALIDATION_BATCH
    )


class Hand:
    """The network that the builder makes and Adam, from variables and operations only."""

    def __init__(self, builder: str, values: Mapping[str, Any]) -> None:
        import tensorflow as tf

        self.values, self.dense = values, builder == "dense"
        self.weights: list[Any] = []
        self.averages = [tf.Variable(tf.fill([size], start)) for size in (16, 32) for start in (0.0, 1.0)]
        shapes = self.dense_shapes() if self.dense else self.cnn_shapes()
        for index, shape in enumerate(shapes):
            limit = (6 / (np.prod(shape[:-2]) * sum(shape[-2:]))) ** 0.5 if len(shape) > 1 else 0.0
            self.weights.append(tf.Variable(tf.random.stateless_uniform(shape, [1, index], -limit, limit)))
        if not self.dense and values["batch_norm"]:
            for index in (1, 4):
                self.weights[index].assign(tf.ones(shapes[index]))
        self.moments = [[tf.Variable(tf.zeros_like(weight)) for _ in range(2)] for weight in self.weights]
        self.taken = tf.Variable(0.0)

    def dense_shapes(self) -> list[tuple[int, ...]]:
        """Of the weights of one hidden layer."""
        units = self.values["units"]
        return [(784, units), (units,), (units, CLASSES), (CLASSES,)]

    def cnn_shapes(self) -> list[tuple[int, ...]]:
        """Of the weights of two blocks of one convolution."""
        norm = 2 if self.values["batch_norm"] else 1
        return [(3, 3, 1, 16), *[(16,)] * norm, (3, 3, 16, 32), *[(32,)] * norm, (1568, 64), (64,), (64, 10), (10,)]

    def logits(self, pixels: Any, training: bool, seed: Any = None) -> Any:
        """The network up to its softmax."""
        import tensorflow as tf

        left = iter(self.weights)
        if self.dense:
            x = tf.reshape(pixels, [-1, 784])
            x = tf.nn.relu(tf.nn.bias_add(tf.matmul(x, next(left)) * (1 / 255), next(left)))
        else:
            x = pixels * (1 / 255)
            for block in range(2):
                x = tf.nn.conv2d(x, next(left), 1, "SAME")
                x = tf.nn.max_pool2d(tf.nn.relu(self.shift(x, left, block, training)), 2, 2, "VALID")
            x = tf.nn.relu(tf.nn.bias_add(tf.matmul(tf.reshape(x, [-1, 1568]), next(left)), next(left)))
            if training and self.values["dropout"]:
                x = tf.nn.experimental.stateless_dropout(x, self.values["dropout"], seed)
        return tf.nn.bias_add(tf.matmul(x, next(left)), next(left))

    def shift(self, x: Any, left: Iterator[Any], block: int, training: bool) -> Any:
        """Batch normalisation; a bias for a network without it."""
        import tensorflow as tf

        if not self.values["batch_norm"]:
            return tf.nn.bias_add(x, next(left))
        kept = self.averages[2 * block : 2 * block + 2]
        fixed = {} if training else {"mean": kept[0], "variance": kept[1]}
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, next(left), next(left), epsilon=1e-3, is_training=training, **fixed
        )
        if training:
            for average, value in zip(kept, (mean, variance), strict=True):
                average.assign(average * AVERAGE_MOMENTUM + value * (1 - AVERAGE_MOMENTUM))
        return y

    def step(self, pixels: Any, truth: Any, seed: Any) -> tuple[Any, Any]:
        """Train on a batch; loss and number of right answers."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logits = self.logits(pixels, True, seed)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits))
        self.adam(tape.gradient(loss, self.weights))
        return loss, hits(truth, logits)

    def adam(self, gradients: Sequence[Any]) -> None:
        """One step."""
        import tensorflow as tf

        taken = self.taken.assign_add(1.0)
        size = 1e-3 * tf.sqrt(1 - 0.999**taken) / (1 - 0.9**taken)
        for weight, (mean, square), gradient in zip(self.weights, self.moments, gradients, strict=True):
            # TensorFlow's fused kernel: quicker than the same in operations (0.11 s against 0.12 s an epoch, dense-32).
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=0.0,
                beta2_power=0.0,
                lr=size,
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-7,
                grad=gradient,
            )


def hits(truth: Any, logits: Any) -> Any:
    """Count the right answers."""
    import tensorflow as tf

    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, -1), truth), tf.float32))


def by_hand(builder: str, values: Mapping[str, Any], training: Examples, validation: Examples) -> Way:
    """One tf.function an epoch and one for validation, for this network and these arrays only."""
    import tensorflow as tf

    network = Hand(builder, values)
    images, labels = tf.constant(training.images), tf.constant(training.labels)
    steps = len(training) // BATCH

    @tf.function(autograph=False)
    def train(seed: Any) -> tuple[Any, Any]:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(training)), seed)
        batches = tf.reshape(order[: steps * BATCH], [steps, BATCH])

        def body(number: Any, loss: Any, right: Any) -> tuple[Any, Any, Any]:
            rows = batches[number]
            pixels = tf.cast(tf.gather(images, rows), tf.float32)
            more, more_right = network.step(pixels, tf.gather(labels, rows), seed + number)
            return number + 1, loss + more, right + more_right

        _, loss, right = tf.while_loop(lambda number, *_: number < steps, body, (0, 0.0, 0.0), parallel_iterations=1)
        return loss / steps, right / (steps * BATCH)

    validate = validation_by_hand(network, validation)
    number = 0

    def epoch() -> list[float]:
        nonlocal number
        number += 1
        return [float(value) for value in (*train(tf.constant([1, number])), *validate())]

    return epoch


def validation_by_hand(network: Hand, validation: Examples) -> Any:
    """A function () → (mean loss, accuracy)."""
    import tensorflow as tf

    images, labels = tf.constant(validation.images), tf.constant(validation.labels)

    @tf.function(autograph=False)
    def validate() -> tuple[Any, Any]:
        def body(start: Any, loss: Any, right: Any) -> tuple[Any, Any, Any]:
            end = tf.minimum(start + VALIDATION_BATCH, len(validation))
            truth, logits = labels[start:end], network.logits(tf.cast(images[start:end], tf.float32), False)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)
            return end, loss + tf.reduce_sum(losses), right + hits(truth, logits)

        _, loss, right = tf.while_loop(
            lambda start, *_: start < len(validation), body, (0, 0.0, 0.0), parallel_iterations=1
        )
        return loss / len(validation), right / len(validation)

    return validate


if __name__ == "__main__":
    main()
