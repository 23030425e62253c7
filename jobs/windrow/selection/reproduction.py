"""Train a registered version again from its record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.errors import StudyError
from windrow.selection.readout import read_test
from windrow.sweep import cluster, schedule
from windrow.sweep.spec import facts_of, trial_spec
from windrow.training import runtime
from windrow.training.networks import Builder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment
    from windrow.experiment.parameters import Value


@dataclass(frozen=True)
class Reproduction:
    """The result of training again.

    Attributes:
        accuracy: share of the test images that were labelled correctly.
        images: number of test images.
        weights: SHA-256 of the weights (runtime.weights_digest).
    """

    accuracy: float
    images: int
    weights: str


def train_again(spark: SparkSession, record: Record, dataset: Manifest, folder: Path) -> Reproduction:
    """Train a version as its finalist was trained, and measure it on the same test split.

    Args:
        dataset, folder: the data set, prepared as it was then, and its folder.

    Raises:
        StudyError: it no longer trains to the end.
    """
    cluster.ship(spark, folder, dataset.digest, "train", "validation", "test")
    # The recorded seed may be that of any of the finalist's repeats. Parameters that an older record does not have get
    # the page's defaults.
    facts = replace(facts_of(record.page, record.trial, record.parameters), seed=record.seed)
    spec = trial_spec(record.page, record.builder, dataset, record.trial, facts, keep_network=True)
    (outcome,) = schedule.run_each(spark, 1, [spec])
    if outcome.network is None:
        raise StudyError(
            f"{record} must train to the end, as it did; it ended {outcome.ending.value}; {_last_line(outcome.error)}"
        )
    figures = read_test(spark, {"again": outcome.network}, dataset.digest, spec.threads)["again"]
    weights = spark.sparkContext.parallelize([outcome.network], 1).mapPartitions(_digests).collect()[0]
    return Reproduction(figures.accuracy, figures.images, weights)


def _digests(networks: Iterable[bytes]) -> Iterator[str]:
    """Compute weights' digests on an executor, where a warm worker has TensorFlow and the driver has not."""
    runtime.import_tensorflow(threads=1)
    return iter([runtime.weights_digest(runtime.from_bytes(network)) for network in networks])


def _last_line(error: str) -> str:
    return (error.strip().splitlines() or ["it gave no reason"])[-1]


@dataclass(frozen=True)
class Record:
    """The record of how a registered version was made.

    Attributes:
        page: after overrides; its data set's folder is the one that was used then.
        builder: the network, with the text that a user's file had then.
        parameters: every hyper-parameter of the trial.
        seed: that the registered network was trained with.
        dataset_digest: of the prepared data set.
        weights: SHA-256 of the registered weights (runtime.weights_digest).
        test_accuracy: share of the test images, as it was measured then.
        packages: package → (version then, version now), where they differ.
    """

    model: str
    version: str
    page: Experiment
    builder: Builder
    parameters: dict[str, Value]
    trial: int
    seed: int
    dataset_digest: str
    weights: str
    test_accuracy: float
    packages: dict[str, tuple[str, str]]

    def __str__(self) -> str:
        return f"{self.model} version {self.version}"
