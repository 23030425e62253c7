"""The one look at the test split: networks in, their test figures out, on one executor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Readout:
    """A network's test figures: accuracy in 0..1, mean cross-entropy in nats, number of images."""

    accuracy: float
    loss: float
    images: int


def read_test(spark: SparkSession, networks: Mapping[str, bytes], threads: int) -> dict[str, Readout]:
    """Evaluate .keras networks on the shipped test split.

    Args:
        networks: name → bytes of a .keras file.
        threads: TensorFlow's threads, the task's cores.
    """
    spark.sparkContext.setJobDescription(f"test read-out of {', '.join(networks)}")
    tasks = spark.sparkContext.parallelize([(dict(networks), threads)], 1)
    return dict(tasks.mapPartitions(_read_all).collect())


def _read_all(tasks: Iterable[tuple[dict[str, bytes], int]]) -> Iterator[tuple[str, Readout]]:
    from pyspark import SparkFiles

    folder = Path(SparkFiles.getRootDirectory())
    read = [
        (name, readout(content, folder, threads)) for networks, threads in tasks for name, content in networks.items()
    ]
    return iter(read)


def readout(network: bytes, dataset: Path, threads: int) -> Readout:
    """One network's figures on the test split of the files in `dataset`."""
    from windrow.sweep import trial
    from windrow.training import runtime
    from windrow.training.loop import compile_evaluation

    runtime.import_tensorflow(threads)
    test = trial.examples(dataset, "test")
    loss, accuracy = compile_evaluation(runtime.from_bytes(network), test)()
    return Readout(accuracy, loss, len(test))
