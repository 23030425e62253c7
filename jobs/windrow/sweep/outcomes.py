"""How an attempt at a trial ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from windrow.training.loop import Epoch


class Ending(StrEnum):
    """The closed set of endings. Words of the study's journal, of MLflow's tags and of the result alike."""

    OK = "ok"
    DIVERGED = "diverged"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True)
class Outcome:
    """The record of one attempt; what an executor gives back.

    Attributes:
        value: the objective after the last epoch; None unless the ending is ok.
        epochs: metrics of every finished epoch, in order.
        seconds: wall clock of the attempt on the executor, without the import.
        import_seconds: what importing TensorFlow cost this attempt; 0 in a warm worker.
        error: what went wrong, with the traceback's tail; empty for ok.
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
