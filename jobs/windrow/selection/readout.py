"""Evaluate networks on the test split, once, in one Spark task per network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True, eq=False)
class Readout:
    """A network's predictions on the test split.

    Attributes:
        predicted: predicted labels, int64 (n,), in the split's order.
        truth: true labels, int64 (n,).
        loss: mean cross-entropy in nats.
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


def read_test(spark: SparkSession, networks: Mapping[str, bytes], dataset: str, threads: int) -> dict[str, Readout]:
    """Evaluate networks on the test split that was sent to the executors, one Spark task per network.

    Args:
        networks: bytes of .keras files, by name.
        dataset: digest of the data set whose test split was sent.
        threads: number of TensorFlow's threads, which is the number of cores per task.

    Returns:
        The networks' predictions, by name.
    """
    spark.sparkContext.setJobDescription(f"test read-out of {', '.join(networks)}")
    tasks = [(name, content, dataset, threads) for name, content in networks.items()]
    return dict(spark.sparkContext.parallelize(tasks, len(tasks)).mapPartitions(_read_all).collect())


def _read_all(tasks: Iterable[tuple[str, bytes, str, int]]) -> Iterator[tuple[str, Readout]]:
    from windrow.sweep import trial

    return iter(
        [(name, readout(content, trial.shipped(dataset), threads)) for name, content, dataset, threads in tasks]
    )


def readout(network: bytes, dataset: Path, threads: int) -> Readout:
    """Return the predictions of a network, the bytes of a .keras file, on the test split in the folder `dataset`."""
    from windrow.sweep import trial
    from windrow.training import runtime
    from windrow.training.loop import compile_evaluation

    runtime.import_tensorflow(threads)
    test = trial.examples(dataset, "test")
    loss, predicted, confidence = compile_evaluation(runtime.from_bytes(network), test)()
    return Readout(predicted, test.labels, loss, confidence)
