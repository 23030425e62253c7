"""Find the dimensions of a space that are searched: those whose conditions (`when`) hold for the hyper-parameters.

A dimension that is not searched keeps its value in the default configuration, for the network and for other conditions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from windrow.experiment.constraints import same
from windrow.experiment.dimensions import CategoricalDimension, Dimension
from windrow.experiment.parameters import Value
from windrow.experiment.wording import Mistake, guess, listed, shown


def holds(dimension: Dimension, values: Mapping[str, Value]) -> bool:
    """Return whether a dimension is searched, given the values of the other hyper-parameters."""
    return all(
        name in values and any(same(values[name], wanted) for wanted in allowed)
        for name, allowed in dimension.when.items()
    )


def order(space: Mapping[str, Dimension]) -> list[str]:
    """Return the dimensions, each after its parents: the other dimensions that its conditions name.

    First come the dimensions without parents, in the page's order; then the dimensions whose parents have come, again
    in the page's order; and so on.

    Samplers draw in this order; in a different order, the same seed would give different points.

    Raises:
        ValueError: the conditions form a cycle, which is not possible on a validated page.
    """
    sorter = TopologicalSorter({name: [parent for parent in space[name].when if parent in space] for name in space})
    try:
        sorter.prepare()
    except CycleError as error:
        raise ValueError(f"conditions must not form a cycle; got {' → '.join(error.args[1])}") from error
    place = {name: index for index, name in enumerate(space)}
    ordered: list[str] = []
    while sorter.is_active():
        generation = sorted(sorter.get_ready(), key=place.__getitem__)
        ordered += generation
        sorter.done(*generation)
    return ordered


def active(space: Mapping[str, Dimension], point: Mapping[str, Value], parameters: Mapping[str, Value]) -> set[str]:
    """Return the dimensions that are searched at a point. `parameters` is the default configuration."""
    values = dict(parameters)
    searched = set()
    for name in order(space):
        if holds(space[name], values):
            searched.add(name)
            if name in point:
                values[name] = point[name]
    return searched


def _cycles(parents: Mapping[str, Iterable[str]]) -> dict[tuple[str, str], list[str]]:
    """Return cycles of conditions: (dimension, its parent in the cycle) → path from the dimension back to itself.

    A cycle is reported once, at the dimension that is first on the page. The conditions of that dimension are then
    removed to find the next cycle, so there are at most as many cycles as dimensions.
    """
    left = {name: [parent for parent in own if parent != name] for name, own in parents.items()}
    place = {name: index for index, name in enumerate(parents)}
    found: dict[tuple[str, str], list[str]] = {}
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            cycle: list[str] = error.args[1][:0:-1]  # from child to parent; its last item repeats the first
            first = cycle.index(min(cycle, key=place.__getitem__))
            way = [*cycle[first:], *cycle[: first + 1]]
            found[way[0], way[1]] = way
            left[way[0]] = []
        else:
            return found


def mistakes(
    written: Mapping[str, Mapping[str, object]],
    names: Collection[str],
    sound: Mapping[str, Dimension],
    defaults: Mapping[str, Value] | None,
) -> Iterator[Mistake]:
    """Yield the mistakes in the conditions of a space.

    Args:
        written: the `when` of each dimension, as on the page.
        names: all dimensions of the page.
        sound: the dimensions without mistakes of their own.
        defaults: the default configuration; None if the page's network has mistakes.
    """
    cycles = _cycles(written)
    for name, when in written.items():
        for parent, values in when.items():
            key = ("space", name, "when", parent)
            problem = _parent_problem(name, parent, names, defaults)
            if problem is None and (way := cycles.get((name, parent))):
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
        return None  # nothing is known about a parent with mistakes
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
