"""Estimate how long a sweep still takes, from the trials that have ended, or from the first epochs.

estimate = Estimate(page.sweep, [trial.seconds for trial in study.finished()])
estimate.left(trials, slots)  # None: nothing has been measured yet
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windrow.experiment import SweepSection
    from windrow.training.loop import Epoch

FIRST_TRIALS = 5
"""Trials after which the estimate is printed and noted in MLflow: by then, some were long and some short."""


class Estimate:
    """The durations of a sweep's trials so far.

    Args:
        sweep: the page's section, with the number of epochs.
        seconds: wall-clock seconds of each trial that has ended for good, also of those that were pruned.
    """

    def __init__(self, sweep: SweepSection, seconds: Sequence[float]) -> None:
        self._epochs = sweep.epochs
        self._seconds = list(seconds)
        self._epoch: float | None = None

    @property
    def trials(self) -> int:
        """The number of trials that the estimate is based on; 0 if it is based on epochs, or on nothing."""
        return len(self._seconds)

    def add(self, seconds: float) -> None:
        """Add a trial that has ended for good."""
        self._seconds.append(seconds)

    def add_epochs(self, epochs: Sequence[Epoch]) -> None:
        """Add epochs of a trial that still trains; they count until a trial has ended."""
        if epochs:
            self._epoch = epochs[-1].seconds  # the first ones of a worker are slower

    def left(self, trials: int, slots: int) -> float | None:
        """Return the wall-clock seconds that so many further trials take on so many slots; None if not known yet.

        With fewer trials than slots it is the time of one trial, as if they had just begun.
        """
        if self._seconds:
            each = mean(self._seconds)
        elif self._epoch is not None:
            each = self._epoch * self._epochs
        else:
            return None
        return max(1.0, trials / slots) * each if trials else 0.0
