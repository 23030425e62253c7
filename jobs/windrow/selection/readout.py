"""Evaluate networks on the test split, once, in one Spark task per network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from windrow.data.splits import StoredFit
from windrow.selection.statistics import most_frequent_share
from windrow.spark import ship_bytes, shipped_bytes

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True, eq=False)
class Readout:
    """A network's predictions on the test split.

    Attributes:
        predicted: predicted labels, int64 (n,), in the split's order.
        truth: true labels, int64 (n,).
        loss: mean cross-entropy in nats; nan where it is not known.
        confidence: probabilities of the predicted labels, float32 (n,) in 0..1; None if they were not kept.
    """

    predicted: NDArray[np.int64]
    truth: NDArray[np.int64]
    loss: float
    confidence: NDArray[np.float32] | None = None

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Return whether each image was classified correctly, bool (n,)."""
        return np.equal(self.predicted, self.truth)

    @property
    def errors(self) -> int:
        """Return the number of misclassified images."""
        return self.images - int(np.count_nonzero(self.hits))

    @property
    def images(self) -> int:
        """Return the number of test images."""
        return len(self.truth)

    @property
    def accuracy(self) -> float:
        """Return the share of images that were classified correctly, 0..1."""
        return (self.images - self.errors) / self.images

    @property
    def baseline(self) -> float:
        """Return the accuracy of a network that always answers with the most frequent class, 0..1."""
        return most_frequent_share(self.truth)

    def on(self, chosen: NDArray[np.bool_]) -> Readout:
        """Return the predictions on the images where `chosen`, bool (n,), is true; their loss is not known."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        arrays = {name: value[chosen] for name, value in values.items() if isinstance(value, np.ndarray)}
        return replace(self, loss=math.nan, **arrays)


def read_test(
    spark: SparkSession,
    networks: Mapping[str, bytes],
    truths: Mapping[str, NDArray[np.int64]],
    fits: Mapping[str, StoredFit],
    dataset: str,
    threads: int,
) -> dict[str, Readout]:
    """Evaluate networks on the test split that was sent to the executors, one Spark task per network.

    Args:
        networks: bytes of .keras files, by name.
        truths: the images' labels by the name of a network that numbers the classes in its own way, or that may not be
            evaluated on some images, int64 (n,); -1 leaves an image out. Other networks get the split's labels.
        fits: name under which the images of a network are stored, from Manifest.stored, by the network's name.
        dataset: digest of the data set whose test split was sent.
        threads: number of TensorFlow's threads, which is the number of cores per task.

    Returns:
        The networks' predictions, by name.
    """
    spark.sparkContext.setJobDescription(f"test read-out of {', '.join(networks)}")
    tasks = [
        _Task(name, ship_bytes(spark, content), dataset, threads, truths.get(name), fits[name])
        for name, content in networks.items()
    ]
    return dict(spark.sparkContext.parallelize(tasks, len(tasks)).mapPartitions(_read_all).collect())


@dataclass(frozen=True, eq=False)
class _Task:
    name: str
    file: str
    dataset: str
    threads: int
    truth: NDArray[np.int64] | None
    fit: StoredFit


def _read_all(tasks: Iterable[_Task]) -> Iterator[tuple[str, Readout]]:
    from windrow.sweep import trial

    return iter(
        [
            (
                each.name,
                readout(shipped_bytes(each.file), trial.shipped(each.dataset), each.threads, each.truth, each.fit),
            )
            for each in tasks
        ]
    )


def readout(
    network: bytes, dataset: Path, threads: int, truth: NDArray[np.int64] | None = None, fit: StoredFit = "main"
) -> Readout:
    """Return the predictions of a network, the bytes of a .keras file, on the test split in the folder `dataset`.

    Args:
        truth: labels in place of the split's own, as for `read_test`.
        fit: name under which the network's images are stored, from Manifest.stored.
    """
    from windrow.sweep import trial
    from windrow.training import runtime
    from windrow.training.loop import Examples, compile_evaluation

    runtime.import_tensorflow(threads)
    test = trial.examples(dataset, "test", fit)
    if truth is not None:
        test = Examples(test.images[truth >= 0], truth[truth >= 0])
    loss, predicted, confidence = compile_evaluation(runtime.from_bytes(network), test)()
    return Readout(predicted, test.labels, loss, confidence)
