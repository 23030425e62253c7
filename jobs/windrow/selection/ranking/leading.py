"""Compare the best finalist with the default configuration, by the noise of their cross-validation."""

from __future__ import annotations

import math
from statistics import mean, stdev
from typing import TYPE_CHECKING

from windrow.plural import counted
from windrow.selection.finalists import Finalist, Lead
from windrow.selection.promotion_result import LeadFigures

if TYPE_CHECKING:
    from windrow.experiment import SweepSection

_FEWEST = 2  # pairs, for a standard error
_ERRORS = 2.0
"""Standard errors above which a lead is clear: the best of several finalists is often ahead by one of them by luck."""


def lead(best: Finalist, default: Finalist, sweep: SweepSection) -> Lead | None:
    """Return how far a finalist is ahead of the default configuration; None for fewer than two pairs to compare.

    The difference is paired: each seed's networks of both were validated on the same images, other ones than those of
    the next seed. A lead below twice its standard error may be due to these images and to the seeds.

    Args:
        best: a finalist other than the default configuration, with at least one repeat that ended ok.
        default: the default configuration, likewise; perhaps with the `fit` that trial 0 does not have.
        sweep: the objective, and its direction.
    """
    sign = 1 if sweep.direction == "maximize" else -1
    values = {repeat.number: repeat.outcome.value for repeat in default.good}
    gains = [
        sign * (repeat.outcome.value - value)
        for repeat in best.good
        if repeat.outcome.value is not None and (value := values.get(repeat.number)) is not None
    ]
    if len(gains) < _FEWEST:
        return None
    difference, error = mean(gains), stdev(gains) / math.sqrt(len(gains))
    way = "better" if difference > 0 else "worse" if difference < 0 else "the same"
    known = "the default configuration"
    if default.trial.number:
        known += f" with fit {default.trial.point.get('fit')}"
    figures = (
        f"{sweep.objective} {best.value:.4f} against {default.value:.4f} of {known}, {way} by "
        f"{abs(difference):.4f} ± {error:.4f} (the standard error over {counted(len(gains), 'seed')}, each validated "
        "on other images)"
    )
    if difference > _ERRORS * error:
        reason = f"{best.name} has {figures}; it is taken"
        return Lead(best, len(gains), difference, error, reason, is_clear=True)
    reason = (
        f"the search found nothing that is better than {known} by more than noise, twice the standard error: the best "
        f"other one, {best.name}, has {figures}; {known} is taken"
    )
    return Lead(best, len(gains), difference, error, reason, is_clear=False)


def text(found: Lead | None) -> str:
    """Return the comparison as a sentence of the evidence; empty without one."""
    return "" if found is None else f"{found.reason[:1].upper()}{found.reason[1:]}."


def figures(found: Lead | None) -> LeadFigures | None:
    """Return the comparison as JSON values; None without one."""
    if found is None:
        return None
    return {
        "trial": found.finalist.trial.number,
        "clear": found.is_clear,
        "reason": found.reason,
        "difference": found.difference,
        "error": found.error,
        "seeds": found.pairs,
    }
