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


def lead(best: Finalist, default: Finalist, sweep: SweepSection, share: float) -> Lead | None:
    """Return how far a finalist is ahead of the default configuration; None for fewer than two pairs to compare.

    The difference is paired: each seed's networks of both were validated on the same images, other ones than those of
    the next seed. A lead below its standard error may be due to these images and to the seeds.

    The networks of two seeds share most of their training images, so n differences say less than n independent ones.
    The variance of their mean is therefore (1 / n + `share`) times that of one, not 1 / n. Source: C. Nadeau and
    Y. Bengio, "Inference for the generalization error", Machine Learning 52, 2003.

    Args:
        best: a finalist other than the default configuration, with at least one repeat that ended ok.
        default: the default configuration, likewise; perhaps with the `fit` that trial 0 does not have.
        sweep: the objective, and its direction.
        share: validation images for each training image.
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
    difference, error = mean(gains), stdev(gains) * math.sqrt(1 / len(gains) + share)
    way = "better" if difference > 0 else "worse" if difference < 0 else "the same"
    known = "the default configuration"
    if default.trial.number:
        known += f" with fit {default.trial.point.get('fit')}"
    figures = (
        f"{sweep.objective} {best.value:.4f} against {default.value:.4f} of {known}, {way} by "
        f"{abs(difference):.4f} ± {error:.4f} (the standard error over {counted(len(gains), 'seed')}, each validated "
        "on other images, with a correction for the training images that they share)"
    )
    if difference > error:
        reason = f"{best.name} has {figures}; it is taken"
        return Lead(best, len(gains), difference, error, reason, is_clear=True)
    reason = (
        f"the search found nothing that is better than {known} by more than noise: the best other one, {best.name}, "
        f"has {figures}; {known} is taken"
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
