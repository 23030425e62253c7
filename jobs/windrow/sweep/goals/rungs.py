"""Decide which trials of a search for two goals stop early: successive halving among trials that cost no more.

rungs = Rungs(page.sweep, first=1)
rungs.reach(trial, epoch, value, cost)  # True: stop
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windrow.experiment import SweepSection

STEP, PASSING = 2, 4
"""Each rung has twice the epochs of the one before it, and a quarter of the rivals passes it (bench/two_goals.py)."""

ALIKE = {"weights": 1.0, "milliseconds": 1.05}
"""Costs of at most so many times a trial's count as not higher: two measurements of one network differ by 5 %."""


class Rungs:
    """What trials have reached at the epochs `first`, 2 `first`, 4 `first` ...

    A trial is compared with those trials at its rung that cost no more, itself included, running ones as well as ended
    ones. It goes on if its value is among the best quarter of these, rounded up: so it always does while none of them
    has a better value, that is, while no trial dominates it.

    Args:
        sweep: the page's section; it has two objectives.
        first: the first rung, an epoch from 1.
    """

    def __init__(self, sweep: SweepSection, first: int = 1) -> None:
        self._sign = 1 if sweep.direction == "maximize" else -1
        self._alike = ALIKE[sweep.cost or "weights"]
        self._reached: dict[int, dict[int, tuple[float, float]]] = {}
        rung = first
        while rung < sweep.epochs:
            self._reached[rung] = {}
            rung *= STEP

    def reach(self, trial: int, epoch: int, value: float, cost: float) -> bool:
        """Note a trial's value after an epoch, from 1; return True if it should stop, which only a rung decides.

        Another attempt at a trial replaces what the trial reached before.
        """
        rung = self._reached.get(epoch)
        if rung is None or not math.isfinite(value):
            return False
        rung[trial] = (self._sign * value, cost)
        rivals = [own for own, other in rung.values() if other <= cost * self._alike]
        better = sum(own > self._sign * value for own in rivals)
        return better >= math.ceil(len(rivals) / PASSING)
