"""All that training one trial takes: its point, the data set and the limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from windrow.channel import Address
from windrow.experiment.parameters import Value
from windrow.training.networks import Builder

if TYPE_CHECKING:
    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment
    from windrow.sweep.study import Asked


@dataclass(frozen=True)
class TrialSpec:
    """Everything that an attempt at a trial depends on, besides the data set's files.

    Attributes:
        dataset: the data set's digest, by which a worker finds the files that were sent.
        seed: seed of the initial weights, the order of images, dropout and augmentation.
        threads: TensorFlow's threads; the cores that Spark gives the task.
        keep_network: give the trained network back as bytes.
        lease: the attempt's token in the ledger.
        address: where the driver listens; None if nobody does.
        seconds: wall clock that the attempt may take; None for no limit.
        mebibytes: resident memory that the worker may take; None for no limit.
        prune: ask after every epoch whether to go on.
        fused: may be trained as one graph with others.
        deterministic: the same result bit for bit, at some cost in speed.
        digests: SHA-256 of the data set's files by name; a worker checks them once.
        ask_first: train only with the driver's consent: set where the line to it is known to work, so that its
            silence means that it is gone.
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
    lease: str = ""
    address: Address | None = None
    seconds: float | None = None
    mebibytes: int | None = None
    prune: bool = False
    fused: bool = False
    deterministic: bool = False
    dataset: str = ""
    digests: tuple[tuple[str, str], ...] = ()
    ask_first: bool = False


def trial_spec(
    page: Experiment, builder: Builder, dataset: Manifest, asked: Asked, seed: int, keep_network: bool = False
) -> TrialSpec:
    """A point with everything else that training it takes, without limits."""
    return TrialSpec(
        number=asked.number,
        attempt=asked.attempt,
        builder=builder,
        parameters=parameters_of(page, asked.point),
        shape=dataset.shape,
        classes=len(dataset.labels),
        epochs=page.sweep.epochs,
        objective=page.sweep.objective,
        seed=seed,
        threads=page.sweep.cores,
        keep_network=keep_network,
        lease=asked.lease,
        deterministic=page.sweep.deterministic,
        dataset=dataset.digest,
        digests=tuple((name, digest) for name, digest in dataset.files.items() if not name.startswith("test-")),
    )


def parameters_of(page: Experiment, point: dict[str, Value]) -> dict[str, Value]:
    """Every hyper-parameter of a trial: its point on top of the page's default configuration."""
    return {**page.network.defaults(), **point}
