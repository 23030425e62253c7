"""Run a given list of trainings on Spark, one attempt each, and print how many have ended."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from windrow.experiment.wording import time_left
from windrow.sweep import schedule
from windrow.sweep.outcomes import Outcome
from windrow.sweep.spec import TrialSpec
from windrow.training.loop import Epoch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_STATUS_SECONDS = 15.0  # between two lines of progress while no training ends


def run_each(spark: SparkSession, slots: int, specs: Sequence[TrialSpec], what: str) -> list[Outcome]:
    """Run trainings, `slots` at a time; return the outcomes in the order in which they arrived.

    A line of progress on standard error follows each: `[3/15] finalists: trial 4, seed 2: val_loss 0.3101 in 1.2 s;
    about 9 s left`.

    Args:
        what: what is trained, in a word or two, for these lines.
    """
    listed = ListedTrainings(specs, what)
    schedule.run(spark, slots, listed)
    return listed.outcomes


class ListedTrainings:
    """Hands out a list of trainings, collects their outcomes, and prints a line of progress after each.

    Attributes:
        outcomes: the outcomes so far, in the order in which they arrived.
    """

    def __init__(self, specs: Sequence[TrialSpec], what: str) -> None:
        """Begin; the arguments are those of `run_each`."""
        self._waiting, self._count, self._what = iter(specs), len(specs), what
        self._objective = specs[0].objective if specs else ""
        self._started = self._printed = monotonic()
        self.outcomes: list[Outcome] = []

    def next(self, slots: int) -> list[TrialSpec]:
        """Return the next training as a list; an empty one after the last."""
        spec = next(self._waiting, None)
        return [] if spec is None else [spec]

    def report(self, lease: str, first: int, epochs: Iterable[Epoch]) -> str:
        """Ask no training to stop."""
        return ""

    def settle(self, outcome: Outcome) -> None:
        """Keep an outcome, and print its line."""
        self.outcomes.append(outcome)
        trial = f"trial {outcome.number}{f', seed {outcome.repeat}' if outcome.repeat else ''}"
        value = outcome.ending.value if outcome.value is None else f"{outcome.value:.4f}"
        self._print(f"{trial}: {self._objective} {value} in {outcome.seconds:.1f} s")

    def give_back(self, lease: str) -> None:
        """Refuse: without a channel, nothing is given back."""
        raise AssertionError(f"without a channel nothing is given back; got {lease}")

    def tick(self, running: int) -> bool:
        """Print how many are running, if no training has ended for a while; they have no limit of time."""
        if monotonic() - self._printed > _STATUS_SECONDS:
            self._print(f"{running} running")
        return False

    def _print(self, event: str) -> None:
        self._printed = monotonic()
        done = len(self.outcomes)
        left = self._count - done
        rest = f"; {time_left((self._printed - self._started) * left / done)}" if done and left else ""
        print(f"[{done}/{self._count}] {self._what}: {event}{rest}", file=sys.stderr, flush=True)
