"""Outcomes of attempts, their endings, and what follows from each ending. docs/architecture.md shows the same table.

An outcome records one attempt; its ending is the field that says how the attempt ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from windrow.training.loop import Epoch

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Ending(StrEnum):
    """The closed set of endings. The ledger, MLflow's tags and the job's result use these words."""

    OK = "ok"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    LOST = "lost"
    FAILED = "failed"


class Signal(StrEnum):
    """A result that the sampler gets."""

    VALUE = "its value"
    SO_FAR = "worse than any ok one, by how far it came"
    WORST = "the worst"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Rule:
    """The consequences of an ending.

    Attributes:
        attempts: counted attempts that a trial gets if its attempts end so.
        signal: the result that the sampler gets.
        status: of the trial's run in MLflow.
    """

    attempts: int
    signal: Signal
    status: str


RULES: dict[Ending, Rule] = {
    Ending.OK: Rule(1, Signal.VALUE, "FINISHED"),
    Ending.PRUNED: Rule(1, Signal.SO_FAR, "FINISHED"),
    Ending.DIVERGED: Rule(1, Signal.WORST, "FAILED"),
    Ending.TIMEOUT: Rule(1, Signal.SO_FAR, "KILLED"),
    Ending.OUT_OF_MEMORY: Rule(1, Signal.WORST, "KILLED"),
    Ending.LOST: Rule(3, Signal.NOTHING, "FAILED"),
    Ending.FAILED: Rule(1, Signal.NOTHING, "FAILED"),
}


@dataclass(frozen=True)
class Outcome:
    """The record of one attempt, which an executor returns.

    Attributes:
        lease: the attempt's token in the ledger; an outcome counts only for the lease that the trial has now.
        value: the objective after the last epoch; None unless the ending is ok.
        epochs: metrics of every finished epoch, in order.
        seconds: wall clock of the attempt on the executor, without the import; a share of it where trials were fused.
        import_seconds: what importing TensorFlow cost this attempt; 0 in a warm worker.
        peak_mebibytes: the largest resident memory of the worker that was measured during the attempt.
        fused: trials that trained as one graph with this one, itself included; 1 for a trial that trained alone.
        gain: images a second of the fused graph over those of single trials, as the probe measured; 0 without a probe.
        began_at, ended_at: Unix seconds by the worker's clock, for people; durations are measured by another clock.
        error: what went wrong, with the traceback's tail; empty for ok and pruned.
        worker: host and process that trained, as host/pid.
        network: the trained network as a .keras file's bytes, if the specification wants it.
        repeat: which of a finalist's seeds was trained, from 1; 0 in a sweep, whose records have no such key.
    """

    number: int
    attempt: int
    ending: Ending
    value: float | None = None
    epochs: tuple[Epoch, ...] = ()
    seconds: float = 0.0
    import_seconds: float = 0.0
    error: str = ""
    worker: str = ""
    network: bytes | None = field(default=None, repr=False)
    lease: str = ""
    peak_mebibytes: float = 0.0
    fused: int = 1
    gain: float = 0.0
    began_at: float = 0.0
    ended_at: float = 0.0
    repeat: int = 0

    def record(self) -> dict[str, Any]:
        """Return the outcome as JSON values, without network and repeat, for the ledger and the channel."""
        values = asdict(replace(self, network=None))
        del values["repeat"]
        return values

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Outcome:
        """Read a record, also one of another version: unknown keys are ignored, missing ones get their defaults.

        Raises:
            TypeError, ValueError, KeyError: it is not a record of an outcome.
        """
        values = _known(cls, record)
        values["ending"] = Ending(record["ending"])
        values["epochs"] = tuple(map(epoch_of, record["epochs"]))
        return cls(**values)


def epoch_of(record: Mapping[str, object]) -> Epoch:
    """Read an epoch's record, also one of another version: a study must outlive a new metric.

    Raises:
        TypeError: it is not a record of an epoch.
    """
    return Epoch(**_known(Epoch, record))


def _known(kind: type[DataclassInstance], record: Mapping[str, object]) -> dict[str, Any]:
    """Return the keys of a record that are fields of `kind`."""
    return {each.name: record[each.name] for each in fields(kind) if each.name in record}
