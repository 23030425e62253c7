"""Make the Optuna pruner that an experiment page names.

study = optuna.create_study(pruner=pruner(page.sweep))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from windrow.experiment import SweepSection

_REDUCTION = 4  # ASHA keeps the best quarter at epochs 1, 4, 16, ...; Ray Tune's default too
_WARM_UP_TRIALS = 5  # trials that the median pruner leaves alone


def pruner(section: SweepSection) -> BasePruner:
    """Return the Optuna pruner that the page's sweep.pruner names."""
    return PRUNERS[section.pruner](section)


def _none(_: SweepSection) -> BasePruner:
    from optuna.pruners import NopPruner

    return NopPruner()


def _asha(_: SweepSection) -> BasePruner:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=_REDUCTION)


def _median(_: SweepSection) -> BasePruner:
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=_WARM_UP_TRIALS)


PRUNERS: dict[str, Callable[[SweepSection], BasePruner]] = {"none": _none, "asha": _asha, "median": _median}
"""A function of the section for each value that sweep.pruner may have on a page."""
