"""Make the Optuna pruner that an experiment page names.

study = optuna.create_study(pruner=pruner(page.sweep, first_decision(page.sweep)))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from windrow.experiment import SweepSection

_REDUCTION = 4  # ASHA keeps the best quarter at the first decision, after 4 times as many epochs, ...; as Ray Tune does
_WARM_UP_TRIALS = 5  # trials that the median pruner leaves alone


def pruner(section: SweepSection, first: int) -> BasePruner:
    """Return the Optuna pruner that the page's sweep.pruner names; it stops no trial before epoch `first`, from 1."""
    return PRUNERS[section.pruner](first)


def first_decision(section: SweepSection) -> int:
    """Return the epoch, from 1, after which a new study's pruner decides for the first time: sweep.prune_after."""
    return max(1, math.ceil(round(section.prune_after * section.epochs, 6)))  # 0.1 * 30 is more than 3


def _none(_: int) -> BasePruner:
    from optuna.pruners import NopPruner

    return NopPruner()


def _asha(first: int) -> BasePruner:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=first, reduction_factor=_REDUCTION)


def _median(first: int) -> BasePruner:
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=_WARM_UP_TRIALS, n_warmup_steps=first)


PRUNERS: dict[str, Callable[[int], BasePruner]] = {"none": _none, "asha": _asha, "median": _median}
"""A function of the first decision's epoch for each value that sweep.pruner may have on a page."""
