"""Which dimensions of a space are searched: those whose `when` holds for the values that the network gets.

Where a dimension is not searched, its value in the default configuration counts, for the network and for conditions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from windrow.experiment.constraints import same
from windrow.experiment.dimensions import CategoricalDimension, Dimension
from windrow.experiment.parameters import Value
from windrow.experiment.wording import Mistake, guess, listed, shown


def holds(dimension: Dimension, values: Mapping[str, Value]) -> bool:
    """Whether a dimension is searched, given the values of all others."""
    return all(
        name in values and any(same(values[name], wanted) for wanted in allowed)
        for name, allowed in dimension.when.items()
    )


def order(space: Mapping[str, Dimension]) -> list[str]:
    """The dimensions with parents before children: generation by generation, each as on the page.

    Raises:
        ValueError: the conditions go in a circle, which a page's can't.
    """
    placed = _placed({name: space[name].when for name in space})
    if len(placed) < len(space):
        raise ValueError(f"conditions must not go in a circle; got one among {', '.join(set(space) - set(placed))}")
    return placed


def _placed(parents: Mapping[str, Iterable[str]]) -> list[str]:
    """The names that can be put behind their parents, in such an order. What is in a circle, or hangs on one, can't."""
    placed: dict[str, None] = {}
    waiting = list(parents)
    while waiting:
        ready = [name for name in waiting if all(each in placed or each not in parents for each in parents[name])]
        if not ready:
            break
        placed.update(dict.fromkeys(ready))
        waiting = [name for name in waiting if name not in placed]
    return list(placed)


def active(space: Mapping[str, Dimension], point: Mapping[str, Value], parameters: Mapping[str, Value]) -> set[str]:
    """The dimensions that are searched at a point. `parameters` is the default configuration."""
    values = dict(parameters)
    searched = set()
    for name in order(space):
        if holds(space[name], values):
            searched.add(name)
            if name in point:
                values[name] = point[name]
    return searched


def _cycle(name: str, parent: str, parents: Mapping[str, Iterable[str]]) -> list[str]:
    """The way from a dimension through one of its parents back to itself; empty if there is none."""
    child_of = {parent: name}
    waiting = [parent]
    while waiting:
        place = waiting.pop()
        if place == name:
            way = [name]
            while len(way) == 1 or way[-1] != name:
                way.append(child_of[way[-1]])
            return way[::-1]
        further = [each for each in parents.get(place, ()) if each not in child_of]
        child_of.update(dict.fromkeys(further, place))
        waiting += further
    return []


def mistakes(
    written: Mapping[str, Mapping[str, Any]],
    names: Collection[str],
    sound: Mapping[str, Dimension],
    defaults: Mapping[str, Value] | None,
) -> Iterator[Mistake]:
    """What is wrong with the conditions of a space.

    Args:
        written: the `when` of each dimension, as on the page.
        names: all dimensions of the page.
        sound: those without mistakes of their own.
        defaults: the default configuration; None where the page's network has mistakes.
    """
    placed = set(_placed(written))
    circling = {name: when for name, when in written.items() if name not in placed}
    told: set[str] = set()
    for name, when in written.items():
        for parent, values in when.items():
            key = ("space", name, "when", parent)
            problem = _parent_problem(name, parent, names, defaults)
            if problem is None and name not in told and (way := _cycle(name, parent, circling)):
                told.update(way)  # a circle is told once: where it starts on the page
                problem = f"must not lead back to {name}; got {' → '.join(way)}; drop one of these conditions"
            if problem:
                yield key, problem
                continue
            for index, value in enumerate(values if isinstance(values, list) else [values]):
                if problem := _value_problem(parent, value, parent in names, sound.get(parent), defaults):
                    yield (*key, str(index)) if isinstance(values, list) else key, problem


def _parent_problem(name: str, parent: str, names: Collection[str], defaults: Mapping[str, Value] | None) -> str | None:
    if parent == name:
        return f"must be another hyper-parameter; got {name} itself; remove it"
    known = dict.fromkeys([*names, *(defaults or {})])
    if parent in known or defaults is None:
        return None
    return f"unknown hyper-parameter{guess(parent, known)}; known are {listed(known)}"


def _value_problem(
    parent: str, value: object, searched: bool, dimension: Dimension | None, defaults: Mapping[str, Value] | None
) -> str | None:
    if (searched and dimension is None) or defaults is None:
        return None  # of a parent with mistakes, nothing is known
    default = defaults.get(parent)
    if dimension is None:
        if same(value, default):
            return None
        return (
            f"must be what {parent} always is, {shown(default)}; got {shown(value)}; "
            f"add {parent} to the space, or drop the condition"
        )
    if dimension.fits(value) or (dimension.when and same(value, default)):
        return None
    choices = map(str, dimension.choices if isinstance(dimension, CategoricalDimension) else ())
    return f"must be a value that {parent} can take ({dimension}); got {shown(value)}{guess(str(value), choices)}"
