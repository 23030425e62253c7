"""Find the mistakes in the constraints and points of a page whose space has no mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from windrow.experiment import conditions
from windrow.experiment.constraints import Constraint
from windrow.experiment.dimensions import CategoricalDimension, Dimension
from windrow.experiment.parameters import Value
from windrow.experiment.wording import Key, Mistake, guess, listed, shown


def mistakes(
    values: Mapping[str, Any], space: Mapping[str, Dimension], defaults: Mapping[str, Value]
) -> Iterator[Mistake]:
    """Yield the mistakes in `constraints`, or in `sweep.points` if the constraints have no mistakes.

    Args:
        values: the page; its constraints and points are valid by themselves.
        space: all dimensions of the page, without mistakes.
        defaults: the default configuration.
    """
    constraints = [Constraint.parse(text) for text in values.get("constraints", ())]
    found = list(_constraint_mistakes(constraints, space, defaults))
    yield from found
    if not found:
        for index, point in enumerate((values.get("sweep") or {}).get("points", ())):
            yield from _point_mistakes(("sweep", "points", str(index)), point, space, constraints, defaults)


def _constraint_mistakes(
    constraints: Sequence[Constraint], space: Mapping[str, Dimension], defaults: Mapping[str, Value]
) -> Iterator[Mistake]:
    known = dict.fromkeys([*space, *defaults])
    example = {**defaults, **{name: _first(dimension) for name, dimension in space.items()}}
    for index, constraint in enumerate(constraints):
        key = ("constraints", str(index))
        strangers = sorted(constraint.names - known.keys())
        unsettled = [name for name in space if name in constraint.names and space[name].when and name not in defaults]
        for name in strangers:
            yield key, f"has an unknown hyper-parameter, {name}{guess(name, known)}; known are {listed(known)}"
        for name in unsettled:
            yield key, f"must have a value of {name} where it is not searched; add network.parameters.{name}"
        if strangers or unsettled:
            continue
        if not constraint.names & space.keys():
            yield key, f"must name a hyper-parameter of the space ({listed(space)}); got {shown(constraint.text)}"
        elif not constraint.is_sound(example):
            message = f"must be true or false, and count with numbers only; got {shown(constraint.text)}"
            yield key, f"{message}; compare the result, such as units * layers <= 512"


def _first(dimension: Dimension) -> Value:
    return dimension.choices[0] if isinstance(dimension, CategoricalDimension) else dimension.low


def _point_mistakes(
    key: Key,
    point: Mapping[str, Value],
    space: Mapping[str, Dimension],
    constraints: Sequence[Constraint],
    defaults: Mapping[str, Value],
) -> Iterator[Mistake]:
    values = {**defaults, **point}
    searched = conditions.active(space, values, defaults)
    found = [(name, problem) for name in point if (problem := _value_problem(name, point[name], space, searched))]
    for name in conditions.order(space):
        if name in searched and name not in point and not space[name].fits(defaults.get(name)):
            found.append((name, _left_out_problem(name, space[name], defaults)))
    yield from (((*key, name) if name in point else key, problem) for name, problem in found)
    if not found:
        for constraint in constraints:
            if not constraint.holds(values):
                yield key, f"must keep the constraint {constraint.text}; got {shown(dict(point))}; change a value"


def _value_problem(name: str, value: Value, space: Mapping[str, Dimension], searched: set[str]) -> str | None:
    if name not in space:
        return f"must be a hyper-parameter of the space{guess(name, space)}; they are {listed(space)}"
    if not space[name].fits(value):
        return f"must lie in the space ({space[name]}); got {shown(value)}"
    if name not in searched:
        return f"must be left out where {name} is not searched; got {shown(value)}; fix the point, or when"
    return None


def _left_out_problem(name: str, dimension: Dimension, defaults: Mapping[str, Value]) -> str:
    default = shown(defaults[name]) if name in defaults else "nothing"
    return f"needs a value of {name}, whose default lies outside the space ({dimension}); got {default}; add {name}"
