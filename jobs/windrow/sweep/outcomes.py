"""Define outcomes of attempts, their endings, and the rule for each ending (a table that docs/architecture.md repeats).

An outcome records one attempt; its field `ending` says how the attempt ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from windrow.sweep.goals.hits import Hits
from windrow.training.loop import Epoch

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from windrow.experiment import SweepSection


class Ending(StrEnum):
    """All ways in which an attempt can end. The ledger, MLflow's tags and the job's result use these words."""

    OK = "ok"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    LOST = "lost"
    FAILED = "failed"


class Signal(StrEnum):
    """The kind of result that is reported to the sampler for a trial."""

    VALUE = "its value"
    SO_FAR = "worse than any ok one, by how far it came"
    WORST = "the worst"
    NOTHING = "nothing"


@dataclass(frozen=True)
class EndingRule:
    """The consequences of an ending.

    Attributes:
        attempts: the most attempts at a trial whose attempts end this way.
        signal: the kind of result that is reported to the sampler.
        status: the final status of the trial's run in MLflow.
    """

    attempts: int
    signal: Signal
    status: str


RULES: dict[Ending, EndingRule] = {
    Ending.OK: EndingRule(1, Signal.VALUE, "FINISHED"),
    Ending.PRUNED: EndingRule(1, Signal.SO_FAR, "FINISHED"),
    Ending.DIVERGED: EndingRule(1, Signal.WORST, "FAILED"),
    Ending.TIMEOUT: EndingRule(1, Signal.SO_FAR, "KILLED"),
    Ending.OUT_OF_MEMORY: EndingRule(1, Signal.WORST, "KILLED"),
    Ending.LOST: EndingRule(3, Signal.NOTHING, "FAILED"),
    Ending.FAILED: EndingRule(1, Signal.NOTHING, "FAILED"),
}


@dataclass(frozen=True)
class Outcome:
    """The record of one attempt, which an executor returns.

    Attributes:
        value: the objective of the last epoch, or of the best one if the page has a patience; None unless the ending is
            ok.
        epochs: metrics of every finished epoch, in order.
        seconds: wall clock of the attempt on the executor, without the import; the trial's share if trials were fused.
        import_seconds: time that the attempt took to import TensorFlow; 0 in a warm worker.
        error: the error, with the end of its traceback if there is one; empty for ok and pruned.
        worker: host and process that trained, as host/pid.
        network: the trained network as a .keras file's bytes, if the specification asks for it.
        lease: the attempt's token in the ledger; the outcome counts only while this lease is open.
        peak_mebibytes: the largest resident memory of the worker that was measured during the attempt.
        fused: number of trials in the same graph, this one included; 1 for a trial that trained alone.
        gain: images per second of a fused graph divided by those of single trials, by fused.gain; 0 if not measured.
        began_at, ended_at: Unix seconds by the worker's clock, for display; durations are measured by another clock.
        repeat: number of a finalist's seed, from 1; 0 in a sweep.
        frozen: the objective of the head before its backbone was trained further, on the same validation images; None
            for any other training.
        hits: which validation images the network gets right, if the specification asks for it.
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
    frozen: float | None = None
    hits: Hits | None = None

    def __post_init__(self) -> None:
        # A file's name in an error may hold bytes that are no text, which no database and no terminal takes.
        object.__setattr__(self, "error", self.error.encode("utf-8", "backslashreplace").decode())

    def ends_trial(self, settled: int) -> bool:
        """Return whether this outcome ends its trial, which has `settled` counted attempts, this one included."""
        return settled >= RULES[self.ending].attempts

    def record(self) -> dict[str, Any]:
        """Return the outcome as JSON values, without what only finalists have, for the ledger and the channel."""
        values = asdict(replace(self, network=None, epochs=()))
        del values["repeat"], values["frozen"], values["hits"]
        return values | {"epochs": [epoch.metrics() for epoch in self.epochs]}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Outcome:
        """Read a record, which another version of Windrow may have written.

        Unknown keys are ignored, missing keys get their defaults.

        Raises:
            TypeError, ValueError, KeyError: the record is not that of an outcome.
        """
        values = _known(cls, record)
        values["ending"] = Ending(record["ending"])
        values["epochs"] = tuple(map(epoch_of, record["epochs"]))
        return cls(**values)


def best_figure(outcome: Outcome, sweep: SweepSection) -> dict[str, float]:
    """Return a trial's value as a metric such as best_val_accuracy; {} without a patience or without a value.

    With a patience, the value may not be the last epoch's, and MLflow's tables show the last epoch's metrics.
    """
    if sweep.patience is None or outcome.value is None:
        return {}
    return {f"best_{sweep.objective}": outcome.value}


def epoch_of(record: Mapping[str, object]) -> Epoch:
    """Read an epoch's record, which another version of Windrow may have written, with other metrics.

    Raises:
        TypeError: the record is not that of an epoch.
    """
    return Epoch(**_known(Epoch, record))


def _known(kind: type[DataclassInstance], record: Mapping[str, object]) -> dict[str, Any]:
    """Return the part of a record whose keys are fields of `kind`."""
    return {each.name: record[each.name] for each in fields(kind) if each.name in record}
