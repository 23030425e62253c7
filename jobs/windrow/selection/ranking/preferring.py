"""Choose the smallest of the finalists that is not much worse than the best one (promotion.prefer: smallest)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from windrow.plural import counted
from windrow.selection.finalists import Finalist, Preference, is_cross_validated, size_of
from windrow.selection.promotion_result import PreferenceFigures
from windrow.selection.statistics import mean_over_images_and_seeds, mean_over_seeds
from windrow.sweep.goals.rungs import ALIKE

if TYPE_CHECKING:
    from windrow.experiment import Experiment
    from windrow.experiment.values import Cost

_FEWEST = 2  # pairs, for an interval


@dataclass(frozen=True)
class _Smaller:
    """A finalist that is smaller than the one that would win.

    Attributes:
        size: weights, or milliseconds for an image.
        difference: by how much its objective is worse than that of the best one, the mean over the pairs.
        most: upper end of the 95 % interval of `difference`.
    """

    finalist: Finalist
    size: float
    difference: float
    most: float


def smallest(page: Experiment, best: Finalist, good: Sequence[Finalist]) -> Preference:
    """Choose the smallest finalist whose interval against the best one ends within the tolerance.

    If none is smaller than the one that would win and ends there, the latter is chosen. Milliseconds that differ by up
    to 5 % are alike.

    Args:
        best: the finalist with the best mean.
        good: all finalists with a repeat that ended ok; the first one would win without the preference.
    """
    cost, tolerance, first = size_of(page), page.promotion.tolerance or 0.0, good[0]
    most = _size(first, cost) / ALIKE[cost]
    smaller = [finalist for finalist in good if _size(finalist, cost) < most]
    compared = [
        _Smaller(one, _size(one, cost), *found) for one in smaller if (found := _shortfall(page, best, one)) is not None
    ]
    within = [one for one in compared if one.most <= tolerance]
    if within:
        taken = min(within, key=lambda one: one.size)
        reason = f"{_comparison(taken, best, cost)}, within the tolerance of {tolerance:g}; it is taken"
        return Preference(taken.finalist, is_smaller=True, reason=reason)
    if compared:
        nearest = min(compared, key=lambda one: one.most)
        why = f"{_comparison(nearest, best, cost)}, beyond the tolerance of {tolerance:g}"
    elif smaller:
        why = f"no smaller finalist has {_FEWEST} seeds that ended ok, and did so for {best.name}, too"
    else:
        why = f"no finalist is smaller than {first.name}, which has {_amount(_size(first, cost), cost)}"
    return Preference(first, is_smaller=False, reason=f"{why}; {first.name} is taken")


def _size(finalist: Finalist, cost: Cost) -> float:
    """Return the weights of a finalist's network, or its milliseconds for an image: the median over its seeds."""
    return median(repeat.outcome.epochs[-1].metrics()[cost] for repeat in finalist.good)


def _shortfall(page: Experiment, best: Finalist, other: Finalist) -> tuple[float, float] | None:
    """Return by how much a finalist is worse than the best one, and the upper end of the interval; None without pairs.

    If they are cross-validated, the networks of a seed have the same images, which are those of no other seed, so the
    seeds' differences of the objective are compared. Else all networks have the same images, and it counts which of
    them each gets right.
    """
    if other is best:
        return 0.0, 0.0
    known = {repeat.number: repeat.outcome for repeat in best.good}
    pairs = [(known[one.number], one.outcome) for one in other.good if one.number in known]
    if len(pairs) < _FEWEST:
        return None
    if is_cross_validated(page):
        sign = 1 if page.sweep.direction == "maximize" else -1
        gaps = [sign * (one.value - two.value) for one, two in pairs if one.value is not None and two.value is not None]
        difference, interval = mean_over_seeds(np.array(gaps))
    else:
        hits = [(one.hits, two.hits) for one, two in pairs if one.hits is not None and two.hits is not None]
        gap = [one.unpack().astype(np.int8) - two.unpack().astype(np.int8) for one, two in hits]
        difference, interval = mean_over_images_and_seeds(np.array(gap))
    return difference, interval.high


def _comparison(one: _Smaller, best: Finalist, cost: Cost) -> str:
    """Return what a smaller network saves and loses, in words."""
    amount = f"{one.finalist.name} has {_amount(one.size, cost)}"
    if one.finalist is best:
        return f"{amount} and is the best on validation"
    way = "worse" if one.difference >= 0 else "better"
    return (
        f"{amount} in place of {_number(_size(best, cost), cost)} ({best.name}, the best on validation) and is {way} "
        f"by {abs(one.difference):.4f}, at most {'worse by ' if way == 'better' else ''}{one.most:.4f} (95 %)"
    )


def _amount(size: float, cost: Cost) -> str:
    return counted(round(size), "weight") if cost == "weights" else f"{_number(size, cost)} milliseconds for an image"


def _number(size: float, cost: Cost) -> str:
    return f"{size:,.0f}" if cost == "weights" else f"{size:.3g}"


def text(found: Preference | None) -> str:
    """Return the decision as a sentence of the evidence; empty without one."""
    return "" if found is None else f"The smallest network is preferred: {found.reason}."


def figures(found: Preference | None) -> PreferenceFigures | None:
    """Return the decision as JSON values; None without one."""
    if found is None:
        return None
    return {"trial": found.chosen.trial.number, "smaller": found.is_smaller, "reason": found.reason}
