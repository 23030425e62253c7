"""The driver's view of a running Spark job: its open leases, its worker's reports, and which trials are late."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

from windrow.sweep.outcomes import Ending, Outcome, epoch_of
from windrow.sweep.spec import TrialSpec
from windrow.training.loop import Epoch

_START_SECONDS = 120.0  # allowed for a worker that can't connect to start and to import TensorFlow
_EVENTS = frozenset({"began", "epochs", "beat", "ended"})
_KINDS: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "str": str,
    "float": (int, float),
    "float | None": (int, float, type(None)),
}
"""The types that JSON gives for the types that a record's fields are declared with."""
_LARGEST = 1 << 53  # whole numbers up to here are exact as floats, and fit into every database

Record = TypeVar("Record", Epoch, Outcome, "Report")


@dataclass
class LeasedJob:
    """A Spark job and those of its trials that have no outcome yet.

    Times are seconds of `time.monotonic`.

    Attributes:
        waiting: trials without an outcome, by lease.
        submitted: when the job was submitted.
        began: when each trial reported that it began, by lease; a trial without an entry may still be in the queue.
        epochs: metrics reported so far, by lease.
        stop_since: when each trial was first asked to stop, by lease.
        last_message: when the worker's last message came; None before the first message.
    """

    number: int
    waiting: dict[str, TrialSpec]
    submitted: float
    began: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, list[Epoch]] = field(default_factory=dict)
    stop_since: dict[str, float] = field(default_factory=dict)
    last_message: float | None = None

    @property
    def tag(self) -> str:
        """The Spark tag by which the job can be cancelled."""
        return f"windrow-{self.number}"

    def is_late(self, lease: str, now: float) -> bool:
        """Return whether a trial has exceeded its time limit.

        Until the job's first message, return whether the whole job has exceeded the limits of its trials together.
        """
        spec = self.waiting[lease]
        if spec.seconds is None:
            return False
        if self.last_message is None:
            # A worker that can't connect does not report when a trial begins. Its trials run one after another, so they
            # share one deadline: the sum of their limits, plus time to start the worker.
            return now - self.submitted > spec.seconds * len(self.waiting) + _START_SECONDS
        return lease in self.began and now - self.began[lease] > spec.seconds

    def lost(self, lease: str, error: str) -> Outcome:
        """Return the outcome of a trial whose worker was lost."""
        return self._outcome(lease, Ending.LOST, error or "its Spark job ended without an outcome")

    def timed_out(self, lease: str, now: float, over: bool) -> Outcome:
        """Return the outcome of a trial that has exceeded its limit or, if `over`, the sweep's time budget."""
        seconds = self.waiting[lease].seconds
        if over:
            error = "the sweep's time (sweep.budget_seconds) is over; give it more, or fewer epochs"
        else:
            error = f"a trial may take {seconds:g} s (sweep.trial_seconds); raise it, or make the network smaller"
        return self._outcome(lease, Ending.TIMEOUT, error, now - self.began.get(lease, self.submitted))

    def _outcome(self, lease: str, ending: Ending, error: str, seconds: float = 0.0) -> Outcome:
        spec = self.waiting[lease]
        return Outcome(
            spec.number,
            spec.attempt,
            ending,
            epochs=tuple(self.epochs.get(lease, ())),
            seconds=seconds,
            error=error,
            lease=spec.lease,
            repeat=spec.repeat,
        )


def key_of(trial: TrialSpec | Outcome) -> str:
    """Return the key of a trial in its job: its lease, or number, attempt and repeat if it has no lease."""
    return trial.lease or f"{trial.number}/{trial.attempt}/{trial.repeat}"


@dataclass(frozen=True)
class Ended:
    """The end of a Spark job.

    Attributes:
        outcomes: the outcomes that the job returned; workers may already have reported them.
        error: why the worker was lost; empty if it was not lost.
        fault: an error that must end the sweep; else None.
    """

    job: LeasedJob
    outcomes: Sequence[Outcome] = ()
    error: str = ""
    fault: BaseException | None = None


@dataclass(frozen=True)
class Report:
    """A worker's message about the trial under a lease: an event, with epochs from number `first`, or the outcome."""

    lease: str
    event: str
    first: int
    epochs: list[Epoch]
    outcome: Outcome | None

    @classmethod
    def of(cls, content: dict[str, object]) -> Report:
        """Parse a message and check all of it, because a worker runs a user's code, which could send anything.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: the content is not a report.
        """
        lease, event = str(content["lease"]), content["event"]
        if not isinstance(event, str) or event not in _EVENTS:
            raise ValueError(f"an event must be began, epochs, beat or ended; got {event!r}")
        epochs = _epochs(content["epochs"]) if event == "epochs" else []
        outcome = _outcome(content["outcome"]) if event == "ended" else None
        if outcome is not None and outcome.lease != lease:
            raise ValueError(f"an outcome must be of the lease that it came under; got trial {outcome.number}")
        return _checked(cls(lease, event, _number(content["first"]) if epochs else 0, epochs, outcome))


def _epochs(records: object) -> list[Epoch]:
    if not isinstance(records, list):
        raise TypeError(f"epochs must be a list; got {type(records).__name__}")
    return [_checked(epoch_of(record)) for record in records]


def _outcome(record: object) -> Outcome:
    if not isinstance(record, dict):
        raise TypeError(f"an outcome must be an object; got {type(record).__name__}")
    outcome = Outcome.of(record)
    for epoch in outcome.epochs:
        _checked(epoch)
    if outcome.ending is Ending.OK and (outcome.value is None or not math.isfinite(outcome.value)):
        raise ValueError(f"a trial that ended ok must have a value; got {outcome.value}")
    return _checked(outcome)


def _checked(record: Record) -> Record:
    """Return a record after a check of its fields' types and sizes, which a dataclass does not make."""
    for each in fields(record):
        value, kinds = getattr(record, each.name), _KINDS.get(str(each.type))
        if kinds is not None and not isinstance(value, kinds):
            raise TypeError(f"{each.name} must be {each.type}; got {type(value).__name__}")
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise ValueError(f"{each.name} must be at most {_LARGEST:,}; got more")
        if isinstance(value, str):
            value.encode()  # JSON may hold half a character, which no database takes: a UnicodeEncodeError
    return record


def _number(value: object) -> int:
    if not isinstance(value, int) or not 1 <= value <= _LARGEST:
        raise TypeError(f"an epoch's number must be a whole number from 1 on; got {type(value).__name__}")
    return value
