"""One trial on an executor: take a specification, train, give back a record. Nothing raises or speaks to MLflow."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from windrow.data import shards
from windrow.data.splits import Split
from windrow.sweep.outcomes import Ending, Outcome
from windrow.training import runtime
from windrow.training.loop import Epoch, Examples, prepare
from windrow.training.networks import Builder
from windrow.training.parameters import Value

_TRACEBACK_TAIL_CHARACTERS = 2000


@dataclass(frozen=True)
class TrialSpec:
    """Everything that an attempt at a trial depends on, besides the data set's files.

    Attributes:
        seed: seed of the initial weights, the order of images, dropout and augmentation.
        threads: TensorFlow's threads; the cores that Spark gives the task.
        keep_network: give the trained network back as bytes.
    """

    number: int
    attempt: int
    builder: Builder
    parameters: dict[str, Value]
    shape: tuple[int, int, int]
    classes: int
    epochs: int
    objective: str
    seed: int
    threads: int = 1
    keep_network: bool = False


def run_all(specs: Iterable[TrialSpec]) -> Iterator[Outcome]:
    """A Spark task's body. It drains its input and never raises: only then is the Python worker used again, warm."""
    return iter([run(spec, _spark_folder()) for spec in specs])


def run(spec: TrialSpec, dataset: Path) -> Outcome:
    """Train one trial on the data set's files in `dataset`. Whatever happens becomes an outcome."""
    start = perf_counter()
    epochs: list[Epoch] = []
    imported = 0.0
    worker = f"{socket.gethostname()}/{os.getpid()}"
    try:
        imported = runtime.import_tensorflow(spec.threads)
        network = _train(spec, dataset, epochs)
        kept = runtime.to_bytes(network) if spec.keep_network else None
    except BaseException as error:  # the one fault boundary of a trial: exit() in a user's builder ends here too
        tail = traceback.format_exc()[-_TRACEBACK_TAIL_CHARACTERS:]
        if isinstance(error, KeyboardInterrupt):
            raise
        seconds = perf_counter() - start - imported
        return Outcome(spec.number, spec.attempt, Ending.FAILED, None, tuple(epochs), seconds, imported, tail, worker)
    ending, value, error_text = _judge(spec, epochs)
    return Outcome(
        spec.number,
        spec.attempt,
        ending,
        value,
        tuple(epochs),
        perf_counter() - start - imported,
        imported,
        error_text,
        worker,
        kept if ending is Ending.OK else None,
    )


def examples(dataset: Path, split: Split) -> Examples:
    """A split of a prepared data set, memory-mapped."""
    return Examples(*shards.load_split(dataset, split))


def _spark_folder() -> Path:
    from pyspark import SparkFiles

    return Path(SparkFiles.getRootDirectory())


def _train(spec: TrialSpec, dataset: Path, epochs: list[Epoch]) -> Any:
    """The trained network; `epochs` is filled on the way, so that a failure keeps what was measured before it."""
    training, validation = examples(dataset, "train"), examples(dataset, "validation")
    shape, classes = spec.shape, spec.classes
    trained = prepare(spec.builder, spec.parameters, shape, classes, training, validation, spec.epochs, spec.seed)
    for epoch in trained.epochs():
        epochs.append(epoch)
        if not epoch.finite:
            break
    return trained.network


def _judge(spec: TrialSpec, epochs: list[Epoch]) -> tuple[Ending, float | None, str]:
    last = epochs[-1]
    if last.finite:
        return Ending.OK, last.metrics()[spec.objective], ""
    lost = f"the loss must stay finite; got {last.loss} in epoch {len(epochs)}; lower the learning rate"
    return Ending.DIVERGED, None, lost
