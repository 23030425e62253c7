"""Everything that training one trial takes: its parameters and seed, the data set and the limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from windrow.channel import Address
from windrow.experiment.parameters import Value
from windrow.sweep.seeds import seed_of
from windrow.training.networks import Builder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment


@dataclass(frozen=True)
class TrialFacts:
    """Every hyper-parameter of a trial, and the seed of its weights, order of images, dropout and augmentation."""

    parameters: dict[str, Value]
    seed: int


@dataclass(frozen=True)
class TrialSpec:
    """Everything that an attempt depends on, except the data set's files.

    Attributes:
        number: the trial's number in its study.
        attempt: counts the attempts at the trial, from 1.
        dataset: the data set's digest, by which a worker finds the files that were sent.
        seed: seed of the initial weights, the order of images, dropout and augmentation.
        threads: TensorFlow's threads; the cores that Spark gives the task.
        keep_network: return the trained network as bytes.
        lease: the attempt's token in the ledger; empty for a training that no ledger knows.
        address: where the driver listens; None if it does not.
        seconds: wall clock that the attempt may take; None for no limit.
        mebibytes: resident memory that the worker may take; None for no limit.
        prune: ask after every epoch whether to go on.
        fused: may be trained as one graph with others.
        deterministic: the same result bit for bit, at some cost in speed.
        digests: SHA-256 of the data set's files by name; a worker checks them once.
        ask_first: train only with the driver's consent: set where the connection to it is known to work, so that
            its silence means that it is gone.
        repeat: which of a finalist's seeds this is, from 1; 0 for a trial of the sweep.
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
    repeat: int = 0


def facts_of(page: Experiment, number: int, point: Mapping[str, Value]) -> TrialFacts:
    """Derive a trial's facts from its number and its point, on top of the page's default configuration.

    The sweep, the log that is brought in line with the ledger, and the promotion all take them from here: an attempt
    that is trained again, or logged again, must not differ.
    """
    return TrialFacts({**page.network.defaults(), **point}, seed_of(page.sweep.seed, number))


def trial_spec(
    page: Experiment,
    builder: Builder,
    dataset: Manifest,
    number: int,
    facts: TrialFacts,
    keep_network: bool = False,
) -> TrialSpec:
    """Describe a first attempt at a trial, without limits and without a lease."""
    return TrialSpec(
        number=number,
        attempt=1,
        builder=builder,
        parameters=facts.parameters,
        shape=dataset.shape,
        classes=len(dataset.labels),
        epochs=page.sweep.epochs,
        objective=page.sweep.objective,
        seed=facts.seed,
        threads=page.sweep.cores,
        keep_network=keep_network,
        deterministic=page.sweep.deterministic,
        dataset=dataset.digest,
        digests=tuple((name, digest) for name, digest in dataset.files.items() if not name.startswith("test-")),
    )
