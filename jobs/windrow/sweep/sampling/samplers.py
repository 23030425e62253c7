"""Make the Optuna sampler that an experiment page names.

study = optuna.create_study(sampler=sampler(page.sweep, page.space, seed))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from windrow.errors import UserError
from windrow.experiment import Dimension, SweepSection
from windrow.experiment.parameters import Value
from windrow.sweep.sampling import sobol
from windrow.sweep.sampling import space as spaces

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

    Maker = Callable[[SweepSection, Mapping[str, Dimension], int], BaseSampler]

EXTRAS = {"gp": "torch", "cma_es": "cmaes"}
"""Samplers that need a package beyond requirements.txt, with the name of that package."""


START_UP = 10
"""Trials with a result before the samplers gp and tpe learn; until then they draw at random."""


def sampler(section: SweepSection, space: Mapping[str, Dimension], seed: int) -> BaseSampler:
    """Make the page's sampler, for one study only; this takes well under a millisecond.

    Random and learning samplers draw from `seed`. The quasi-random sampler ignores `seed`: its points form one
    sequence, which depends on the page's seed and the trial's number in Optuna.

    Raises:
        UserError: the sampler needs a package that is not installed.
    """
    check_installed(section)
    return SAMPLERS[section.sampler](section, space, seed)


def check_installed(section: SweepSection) -> None:
    """Check that the package for the page's sampler, if it needs one, is installed; call this before a study begins.

    Raises:
        UserError: the package is not installed.
    """
    package = EXTRAS.get(section.sampler)
    if package and find_spec(package) is None:
        raise UserError(
            f"sweep.sampler: {section.sampler} needs the package {package}; got an environment without it; "
            f"run pip install {package}, or take sampler tpe"
        )


def random_sampler(seed: int) -> BaseSampler:
    """Make the sampler of independent random points."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _random(_: SweepSection, __: Mapping[str, Dimension], seed: int) -> BaseSampler:
    return random_sampler(seed)


def _tpe(_: SweepSection, space: Mapping[str, Dimension], seed: int) -> BaseSampler:
    import warnings

    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    # Without groups, a dimension that only some trials have is drawn independently of all others.
    group = any(dimension.when for dimension in space.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # With constant_liar, running trials count as poor, so that slots do not get near-copies of one point. Groups
        # need multivariate; if it is left out with two goals, Optuna warns at each trial.
        return TPESampler(
            n_startup_trials=START_UP, multivariate=group or None, group=group, constant_liar=True, seed=seed
        )


def _gp(_: SweepSection, __: Mapping[str, Dimension], seed: int) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, independent_sampler=_rest(seed), warn_independent_sampling=False)


def _cma_es(_: SweepSection, __: Mapping[str, Dimension], seed: int) -> BaseSampler:
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(seed=seed, independent_sampler=_rest(seed), warn_independent_sampling=False)


def _rest(seed: int) -> BaseSampler:
    """Make the sampler for dimensions that GP and CMA-ES can't handle: conditional ones, and for CMA-ES categories."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, constant_liar=False)


def _quasi_random(section: SweepSection, space: Mapping[str, Dimension], _: int) -> BaseSampler:
    """Make a sampler of Sobol's sequence; Optuna's own counts its calls, so a restart would change its points."""
    from optuna.samplers import RandomSampler

    known = spaces.distributions(space)

    class SobolSampler(RandomSampler):  # type: ignore[misc]
        """Derives all values of a trial at once from the trial's number in Optuna."""

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
            return known

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Value]:
            return sobol.point(space, section.seed, trial.number)

    return SobolSampler(seed=section.seed)


SAMPLERS: dict[str, Maker] = {
    "grid": _random,  # its points are listed and never drawn
    "sensitivity": _random,  # likewise
    "quasi_random": _quasi_random,
    "random": _random,
    "tpe": _tpe,
    "gp": _gp,
    "cma_es": _cma_es,
}
"""A function of (section, space, seed) for each value that sweep.sampler may have on a page."""
