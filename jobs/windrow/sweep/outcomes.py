"""How an attempt at a trial ended, and what follows from it. docs/architecture.md shows the same table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from windrow.training.loop import Epoch


class Ending(StrEnum):
    """The closed set of endings. Words of the ledger, of MLflow's tags and of the result alike."""

    OK = "ok"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    LOST = "lost"
    FAILED = "failed"


class Signal(StrEnum):
    """What the sampler hears of a trial."""

    VALUE = "its value"
    SO_FAR = "worse than any ok one, by how far it came"
    WORST = "the worst"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Rule:
    """What follows from an ending: attempts at a trial that ends so, what the sampler hears, MLflow's status."""

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
    """The record of one attempt; what an executor gives back.

    Attributes:
        lease: the attempt's token in the ledger; an outcome counts only for the lease that the trial has now.
        value: the objective after the last epoch; None unless the ending is ok.
        epochs: metrics of every finished epoch, in order.
        seconds: wall clock of the attempt on the executor, without the import; a share of it where trials were fused.
        import_seconds: what importing TensorFlow cost this attempt; 0 in a warm worker.
        peak_mebibytes: the largest resident memory of the worker that was seen during the attempt.
        fused: trials that trained as one graph with this one, itself included; 1 alone.
        gain: images a second of the fused graph over those of single trials, as the probe measured; 0 without a probe.
        began_at, ended_at: Unix seconds by the worker's clock, for people: durations are measured otherwise.
        error: what went wrong, with the traceback's tail; empty for ok and pruned.
        worker: host and process that trained, as host/pid.
        network: the trained network as a .keras file's bytes, if it was asked for.
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

    def record(self) -> dict[str, Any]:
        """The outcome as JSON values, without the network: what the ledger keeps and the channel carries."""
        return asdict(replace(self, network=None))

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Outcome:
        """The outcome of a record.

        Raises:
            TypeError, ValueError, KeyError: it is no such record.
        """
        values = dict(record)
        values["ending"] = Ending(values["ending"])
        values["epochs"] = tuple(Epoch(**epoch) for epoch in values["epochs"])
        return cls(**values)
