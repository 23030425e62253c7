"""A Spark job while it holds leases: its workers' messages, and when its trials are late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from windrow.sweep.outcomes import Ending, Outcome, epoch_of
from windrow.sweep.spec import TrialSpec
from windrow.training.loop import Epoch

_START_SECONDS = 120.0  # that a worker without a connection may take to start and to import TensorFlow
_EVENTS = frozenset({"began", "epochs", "beat", "ended"})


@dataclass
class LeasedJob:
    """A Spark job and the trials that it has not settled.

    Times are seconds of `time.monotonic`.

    Attributes:
        waiting: trials without an outcome, by lease.
        began: when each trial reported that it began, by lease. Without an entry it may be next in its worker's list.
        epochs: metrics reported so far, by lease.
        stop_since: when each trial was first asked to stop, by lease.
        last_message: when the last message came from its worker; None if no message has come.
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
        """Spark's tag of the job, by which it is cancelled."""
        return f"windrow-{self.number}"

    def is_late(self, lease: str, now: float) -> bool:
        """Return True if a trial has used up its time."""
        spec = self.waiting[lease]
        if spec.seconds is None:
            return False
        if self.last_message is None:
            # A worker that can't connect does not report when a trial begins. Its trials run one after another, so all
            # of them share one deadline, with time to start the worker on top.
            return now - self.submitted > spec.seconds * len(self.waiting) + _START_SECONDS
        return lease in self.began and now - self.began[lease] > spec.seconds

    def lost(self, lease: str, error: str) -> Outcome:
        """Return the outcome of a trial whose worker was lost."""
        return self._outcome(lease, Ending.LOST, error or "its Spark job ended without an outcome")

    def timed_out(self, lease: str, now: float, over: bool) -> Outcome:
        """Return the outcome of a trial that has used up its time; `over` if the sweep's time is used up."""
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
    """Return a trial's key in a job: its lease; without a ledger, its number, attempt and repeat."""
    return trial.lease or f"{trial.number}/{trial.attempt}/{trial.repeat}"


@dataclass(frozen=True)
class Ended:
    """The end of a Spark job.

    Attributes:
        outcomes: what the job returned; they may have been reported before.
        error: why its worker was lost; empty if it was not.
        fault: the error that ends the sweep.
    """

    job: LeasedJob
    outcomes: Sequence[Outcome] = ()
    error: str = ""
    fault: BaseException | None = None


@dataclass(frozen=True)
class Report:
    """A worker's message about the trial under a lease: its epochs from number `first`, or its outcome."""

    lease: str
    event: str
    first: int
    epochs: list[Epoch]
    outcome: Outcome | None

    @classmethod
    def of(cls, content: dict[str, object]) -> Report:
        """Read a message's content, and check all of it before anything is done with it.

        A worker runs a user's code, which can send anything in the worker's name.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is not a report.
        """
        lease, event = str(content["lease"]), content["event"]
        if not isinstance(event, str) or event not in _EVENTS:
            raise ValueError(f"an event must be began, epochs, beat or ended; got {event!r}")
        epochs = _epochs(content["epochs"]) if event == "epochs" else []
        outcome = _outcome(content["outcome"]) if event == "ended" else None
        if outcome is not None and outcome.lease != lease:
            raise ValueError(f"an outcome must be of the lease that it came under; got trial {outcome.number}")
        return cls(lease, event, _number(content["first"]) if epochs else 0, epochs, outcome)


def _epochs(records: object) -> list[Epoch]:
    if not isinstance(records, list):
        raise TypeError(f"epochs must be a list; got {type(records).__name__}")
    return [epoch_of(record) for record in records]


def _outcome(record: object) -> Outcome:
    if not isinstance(record, dict):
        raise TypeError(f"an outcome must be an object; got {type(record).__name__}")
    return Outcome.of(record)


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"an epoch's number must be a whole number; got {type(value).__name__}")
    return value
