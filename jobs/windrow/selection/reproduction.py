"""Retrain a registered version from the record of how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.errors import StudyError
from windrow.selection.ranking import trainings
from windrow.selection.readout import read_test
from windrow.selection.tuning.stage import spec_of
from windrow.spark import ship_bytes, shipped_bytes
from windrow.sweep import cluster
from windrow.sweep.spec import facts_of, trained_on, trial_spec
from windrow.training import runtime
from windrow.training.networks import Builder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment, FineTuneSection
    from windrow.experiment.parameters import Value


@dataclass(frozen=True)
class Reproduction:
    """The result of retraining.

    Attributes:
        accuracy: share of the test images that were classified correctly.
        images: number of test images.
        weights: SHA-256 of the new weights (runtime.weights_digest).
    """

    accuracy: float
    images: int
    weights: str


def train_again(spark: SparkSession, record: Record, dataset: Manifest, folder: Path) -> Reproduction:
    """Retrain a version as for its promotion; return its accuracy on the same test split, and its weights' digest.

    Args:
        record: the version's record.
        dataset, folder: the manifest of the data set, prepared as for that training, and the data set's folder.

    Raises:
        StudyError: the training did not end ok.
    """
    trained = trained_on(record.page, dataset, folder)
    cluster.ship(spark, folder, trained, "train", "validation")
    cluster.ship(spark, folder, dataset, "test")
    cluster.ship_backbone(spark, record.page, folder)
    # The recorded seed may belong to any of the finalist's repeats. Parameters that an older record lacks get the
    # page's defaults.
    facts = replace(facts_of(record.page, record.trial, record.parameters), seed=record.seed)
    spec = replace(
        trial_spec(record.page, record.builder, trained, record.trial, facts, keep_network=True), fold=record.fold
    )
    if record.fine_tune is not None:
        cluster.ship(spark, folder, dataset, "train", "validation")
        spec = spec_of(record.page, dataset, facts, replace(spec, fold=1), record.fine_tune)
    (outcome,) = trainings.run_each(spark, 1, [spec], "again")
    network = outcome.network
    if network is None:
        raise StudyError(
            f"{record} must train to the end, as it did; it ended {outcome.ending.value}; {_last_line(outcome.error)}"
        )
    figures = read_test(spark, {"again": network}, {}, {"again": spec.fit}, dataset.digest, spec.threads)["again"]
    weights = spark.sparkContext.parallelize([ship_bytes(spark, network)], 1).mapPartitions(_digests).collect()[0]
    return Reproduction(figures.accuracy, figures.images, weights)


def _digests(names: Iterable[str]) -> Iterator[str]:
    """Return the digest of each network's weights.

    Runs on an executor, where a worker has TensorFlow imported already, unlike the driver of this job.
    """
    runtime.import_tensorflow(threads=1)
    return iter([runtime.weights_digest(runtime.from_bytes(shipped_bytes(name))) for name in names])


def _last_line(error: str) -> str:
    return (error.strip().splitlines() or ["it gave no reason"])[-1]


@dataclass(frozen=True)
class Record:
    """The record of how a registered version was made.

    Attributes:
        model, version: the registered model's name, and its version.
        page: the experiment page after overrides; dataset.source is the source that was used for that training.
        builder: the network function; for a user's function, with the text of its file at that time.
        parameters: every hyper-parameter of the trial.
        trial: the trial's number.
        seed: the seed that the registered network was trained with.
        dataset_digest: digest of the prepared data set.
        weights: SHA-256 of the registered weights (runtime.weights_digest).
        test_accuracy: share of the test images that were classified correctly, as measured then.
        fold: the fold that the registered network was validated on; with a patience it decides the number of epochs.
        backbone_digest: digest of the backbone inside; None if there is none, and for versions from before this record.
        packages: (version then, version now) by package, for packages whose versions differ, and for the built-in
            networks if they have another revision.
        fine_tune: how the network was trained further after its head; None if it was not.
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
    fold: int
    backbone_digest: str | None
    packages: dict[str, tuple[str, str]]
    fine_tune: FineTuneSection | None = None

    def __str__(self) -> str:
        return f"{self.model} version {self.version}"
