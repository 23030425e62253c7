"""A page's space in Optuna's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from windrow.experiment import CategoricalDimension, Dimension, FloatDimension, SweepSection
from windrow.training.parameters import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler


def distributions(space: Mapping[str, Dimension]) -> dict[str, BaseDistribution]:
    """Each dimension as the Optuna distribution of the same range."""
    return {name: _distribution(dimension) for name, dimension in space.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, CategoricalDimension):
        return CategoricalDistribution(dimension.choices)
    if isinstance(dimension, FloatDimension):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
    return IntDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step or 1)


def sampler(section: SweepSection, space: Mapping[str, Dimension], seed: int) -> BaseSampler:
    """The page's sampler. A sampler serves one study only, so each call makes a new one."""
    from optuna import samplers

    if section.sampler == "grid":
        return _grid(space, seed)
    if section.sampler == "quasi_random":
        return _quasi_random(space, seed)
    if section.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    return samplers.TPESampler(seed=seed)


def _grid(space: Mapping[str, Dimension], seed: int) -> BaseSampler:
    from optuna.samplers import GridSampler

    class AskedGrid(GridSampler):  # type: ignore[misc]
        """At its last point Optuna's grid stops the loop that asks; here there is none, and the study counts."""

        def after_trial(self, *_: Any, **__: Any) -> None:
            pass

    return AskedGrid({name: grid_values(dimension) for name, dimension in space.items()}, seed=seed)


def _quasi_random(space: Mapping[str, Dimension], seed: int) -> BaseSampler:
    import warnings

    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import QMCSampler

    known = distributions(space)

    class WholeSpace(QMCSampler):  # type: ignore[misc]
        """Optuna learns the space from the first finished trial; asked in parallel before, it draws at random."""

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
            return {name: known[name] for name in sorted(known)}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return WholeSpace(qmc_type="sobol", scramble=True, seed=seed)


def grid_values(dimension: Dimension) -> list[Value]:
    """The values of a dimension on a grid, from low to high."""
    if isinstance(dimension, CategoricalDimension):
        return list(dimension.choices)
    step = dimension.step or 1
    count = int((dimension.high - dimension.low) / step + 1e-9) + 1
    values: list[Value] = [dimension.low + index * step for index in range(count)]
    return values


def contains(space: Mapping[str, Dimension], point: Mapping[str, Value]) -> bool:
    """Whether every value of `point` is legal in the space."""
    return all(_fits(dimension, point.get(name)) for name, dimension in space.items())


def _fits(dimension: Dimension, value: Value | None) -> bool:
    if isinstance(dimension, CategoricalDimension):
        return value in dimension.choices
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not dimension.low <= value <= dimension.high:
        return False
    steps = (value - dimension.low) / dimension.step if dimension.step else 0.0
    return abs(steps - round(steps)) < 1e-9
