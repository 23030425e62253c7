"""The samplers that a page can name, as Optuna's.

study = optuna.create_study(sampler=sampler(page.sweep, page.space, seed))
"""

from __future__ import annotations

from collections.abc import Mapping
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


EXTRAS = {"gp": "torch", "cma_es": "cmaes"}
"""Samplers that need a package beyond requirements.txt."""


def sampler(section: SweepSection, space: Mapping[str, Dimension], seed: int) -> BaseSampler:
    """The page's sampler. It serves one study only, and costs well under a millisecond, so each call makes a new one.

    Random and learning samplers draw from `seed`. The quasi-random one draws from the page's seed and the trial's
    number, whatever `seed` is: its points belong together.

    Raises:
        UserError: the sampler needs a package that is not installed.
    """
    from optuna import samplers

    check_installed(section)
    if section.sampler == "quasi_random":
        return sobol_sampler(space, section.seed)
    if section.sampler in {"random", "grid", "sensitivity"}:  # the points of the last two are listed, never drawn
        return samplers.RandomSampler(seed=seed)
    if section.sampler in EXTRAS:
        return _extra_sampler(section.sampler, seed)
    return _tpe(space, seed)


def _tpe(space: Mapping[str, Dimension], seed: int) -> BaseSampler:
    import warnings

    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Without groups, a dimension that only some trials have is drawn without regard to all others.
        return TPESampler(seed=seed, group=any(dimension.when for dimension in space.values()))


def check_installed(section: SweepSection) -> None:
    """Check for the package that the page's sampler needs: to be called before a study is begun.

    Raises:
        UserError: it is not installed.
    """
    package = EXTRAS.get(section.sampler)
    if package and find_spec(package) is None:
        raise UserError(
            f"sweep.sampler: {section.sampler} needs the package {package}; got an environment without it; "
            f"run pip install {package}, or take sampler tpe"
        )


def _extra_sampler(name: str, seed: int) -> BaseSampler:
    from optuna import samplers

    kind = samplers.GPSampler if name == "gp" else samplers.CmaEsSampler
    # Both learn only what every trial has, and CMA-ES only numbers; TPE learns the rest.
    rest = samplers.TPESampler(seed=seed, constant_liar=False)
    return kind(seed=seed, independent_sampler=rest, warn_independent_sampling=False)


def sobol_sampler(space: Mapping[str, Dimension], seed: int) -> BaseSampler:
    """Sobol's sequence as a sampler of Optuna's. Optuna's own counts its calls, so that a restart moves its points."""
    from optuna.samplers import RandomSampler

    known = spaces.distributions(space)

    class SobolSampler(RandomSampler):  # type: ignore[misc]
        """Every value of a trial comes at once, from its number."""

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
            return known

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Value]:
            return sobol.point(space, seed, trial.number)

    return SobolSampler(seed=seed)
