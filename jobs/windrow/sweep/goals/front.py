"""Find the trials of a search for two goals that no other trial dominates.

A trial dominates another if it has a better value and not a higher cost, or an equal value and a lower cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypedDict

from windrow.sweep.ledger import Entry

if TYPE_CHECKING:
    from windrow.experiment import SweepSection
    from windrow.training.loop import Epoch


class FrontTrial(TypedDict):
    """A trial on the front; `cost` is the second goal: weights, or milliseconds for an image."""

    trial: int
    value: float
    cost: float


def cost_of(epochs: tuple[Epoch, ...], sweep: SweepSection) -> float | None:
    """Return the second goal of a trial with these epochs; None with one goal, or before it was measured."""
    return epochs[-1].metrics().get(sweep.cost) if sweep.cost is not None and epochs else None


def front(trials: Iterable[Entry], sweep: SweepSection) -> list[Entry]:
    """Return the trials that ended ok and that no other dominates, the best value first; of equal ones the first."""
    sign = -1 if sweep.direction == "maximize" else 1
    known = [
        (sign * trial.value, cost, trial.number, trial)
        for trial in trials
        if trial.value is not None and (cost := cost_of(trial.epochs, sweep)) is not None
    ]
    found: list[Entry] = []
    least = float("inf")
    for _, cost, _, trial in sorted(known, key=lambda each: each[:3]):
        if cost < least:
            least = cost
            found.append(trial)
    return found


def listed(trials: Iterable[Entry], sweep: SweepSection) -> list[FrontTrial]:
    """Return the front of the trials as JSON values, the best value first."""
    return [
        {"trial": trial.number, "value": trial.value, "cost": cost}
        for trial in front(trials, sweep)
        if trial.value is not None and (cost := cost_of(trial.epochs, sweep)) is not None
    ]
