"""Make the Optuna pruner that an experiment page names.

study = optuna.create_study(pruner=pruner(page.sweep.pruner))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

_REDUCTION = 4  # ASHA keeps the best quarter at epochs 1, 4, 16, ...; also the default of Ray Tune
_WARM_UP_TRIALS = 5  # the first trials, which the median pruner never prunes


def pruner(name: str) -> BasePruner:
    """Make the pruner for a value of sweep.pruner: none, asha or median."""
    return PRUNERS[name]()


def _none() -> BasePruner:
    from optuna.pruners import NopPruner

    return NopPruner()


def _asha() -> BasePruner:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=_REDUCTION)


def _median() -> BasePruner:
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=_WARM_UP_TRIALS)


PRUNERS: dict[str, Callable[[], BasePruner]] = {"none": _none, "asha": _asha, "median": _median}
"""A function for each value that sweep.pruner may have on a page."""
