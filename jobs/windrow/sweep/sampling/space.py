"""Translate a page's space for Optuna: suggest points, list grids, and convert dimensions to distributions.

    study = optuna.create_study(sampler=sampler(page.sweep, page.space, seed))
    trial = study.ask()
    point = suggest(trial, page.space, page.network.defaults())
    allowed(page.constraints, {**page.network.defaults(), **point})

Everywhere here, `parameters` is the default configuration: conditions may depend on parameters that are not searched.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from windrow.experiment import CategoricalDimension, Constraint, Dimension, FloatDimension, conditions
from windrow.experiment.parameters import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial


order = conditions.order
active = conditions.active


def suggest(trial: Trial, space: Mapping[str, Dimension], parameters: Mapping[str, Value]) -> dict[str, Value]:
    """Suggest a trial's point: a value for every dimension whose conditions hold, parents before children."""
    values = dict(parameters)
    point: dict[str, Value] = {}
    for name in order(space):
        if conditions.holds(space[name], values):
            values[name] = point[name] = _suggest(trial, name, space[name])
    return point


def _suggest(trial: Trial, name: str, dimension: Dimension) -> Value:
    if isinstance(dimension, CategoricalDimension):
        chosen: Value = trial.suggest_categorical(name, dimension.choices)
        return chosen
    if isinstance(dimension, FloatDimension):
        # float(), int(): Optuna returns a value that a user has listed with the type in which it was written.
        return float(trial.suggest_float(name, dimension.low, last(dimension), log=dimension.log, step=dimension.step))
    low, high = dimension.low, int(last(dimension))
    return int(trial.suggest_int(name, low, high, log=dimension.log, step=dimension.step or 1))


def filled(
    space: Mapping[str, Dimension], point: Mapping[str, Value], parameters: Mapping[str, Value]
) -> dict[str, Value]:
    """Fill in a point's missing values with defaults, and drop dimensions whose conditions do not hold.

    {} becomes the default configuration. The result may lie outside the space, or lack a parameter that has no known
    default.
    """
    values = {**parameters, **point}
    searched = active(space, values, parameters)
    return {name: values[name] for name in order(space) if name in searched and name in values}


def complete(space: Mapping[str, Dimension], point: Mapping[str, Value], parameters: Mapping[str, Value]) -> bool:
    """Return whether a point has values for exactly the dimensions whose conditions it fulfils."""
    return set(point) == active(space, point, parameters)


def contains(
    space: Mapping[str, Dimension], point: Mapping[str, Value], parameters: Mapping[str, Value] | None = None
) -> bool:
    """Return whether a point is complete and each of its values is legal."""
    return complete(space, point, parameters or {}) and all(space[name].fits(point[name]) for name in point)


def allowed(constraints: Sequence[Constraint], parameters: Mapping[str, Value]) -> bool:
    """Return whether a trial's hyper-parameters (defaults, overridden by its point) satisfy the constraints."""
    return all(constraint.holds(parameters) for constraint in constraints)


def distributions(space: Mapping[str, Dimension]) -> dict[str, BaseDistribution]:
    """Convert each dimension to the Optuna distribution of the same range or choices."""
    return {name: _distribution(dimension) for name, dimension in space.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, CategoricalDimension):
        return CategoricalDistribution(dimension.choices)
    if isinstance(dimension, FloatDimension):
        return FloatDistribution(dimension.low, last(dimension), log=dimension.log, step=dimension.step)
    return IntDistribution(dimension.low, int(last(dimension)), log=dimension.log, step=dimension.step or 1)


def grid(
    space: Mapping[str, Dimension],
    constraints: Sequence[Constraint],
    parameters: Mapping[str, Value],
    seed: int | None = None,
) -> list[dict[str, Value]]:
    """List every point of a grid that satisfies the constraints; an inactive dimension adds no points.

    Without a seed, the points are in order of their values, parents' first: numbers from low to high, choices as on the
    page. With a seed, they are shuffled, so that the first points already cover the whole grid; the order then depends
    only on the seed.
    """
    points: list[dict[str, Value]] = [{}]
    for name in order(space):
        values = grid_values(space[name])
        points = [longer for point in points for longer in _with(point, name, values, space[name], parameters)]
    points = [point for point in points if allowed(constraints, {**parameters, **point})]
    if seed is not None:
        random.Random(seed).shuffle(points)  # noqa: S311  an order, not a secret
    return points


def _with(
    point: dict[str, Value], name: str, values: list[Value], dimension: Dimension, parameters: Mapping[str, Value]
) -> list[dict[str, Value]]:
    """Return a copy of the point for each value of a dimension; only the point itself if the dimension is inactive."""
    if not conditions.holds(dimension, {**parameters, **point}):
        return [point]
    return [{**point, name: value} for value in values]


def grid_values(dimension: Dimension) -> list[Value]:
    """List a dimension's values on a grid: choices in the page's order, numbers from low to high."""
    if isinstance(dimension, CategoricalDimension):
        return list(dimension.choices)
    return [value_at(dimension, index) for index in range(count(dimension))]


def count(dimension: Dimension) -> int:
    """Count the values of a dimension; a range of floats must have a step."""
    if isinstance(dimension, CategoricalDimension):
        return len(dimension.choices)
    low, high, step = (Decimal(str(number)) for number in (dimension.low, dimension.high, dimension.step or 1))
    return int((high - low) // step) + 1


def value_at(dimension: Dimension, index: int) -> Value:
    """Return a dimension's value number `index` from 0: choices in the page's order, numbers from low to high."""
    if isinstance(dimension, CategoricalDimension):
        return dimension.choices[index]
    if isinstance(dimension, FloatDimension):
        # Decimal arithmetic, because in floats 0.1 + 2 * 0.1 exceeds 0.3, and a value above the range is not legal.
        return float(Decimal(str(dimension.low)) + index * Decimal(str(dimension.step)))
    return dimension.low + index * (dimension.step or 1)


def last(dimension: Dimension) -> float:
    """Return the largest value of a range: `high`, unless the steps do not reach it exactly."""
    if isinstance(dimension, CategoricalDimension):
        raise TypeError("a list of choices has no largest value")
    if dimension.step is None:
        return dimension.high
    return float(value_at(dimension, count(dimension) - 1))
