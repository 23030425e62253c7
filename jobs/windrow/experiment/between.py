"""Mistakes that take several keys of a page to see: the ends of a range, the network's ranges, the size of a grid."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from pydantic import TypeAdapter

from windrow.experiment.dimensions import CategoricalDimension, Dimension, FloatDimension, range_mistakes
from windrow.experiment.sections import NetworkSection
from windrow.experiment.words import Key, Mistake, guess
from windrow.training import parameters
from windrow.training.parameters import Parameter

LARGEST_GRID = 100_000
"""Points: as many as a sweep may have trials. Optuna lists them all before it starts."""

_DIMENSION: TypeAdapter[Dimension] = TypeAdapter(Dimension)


def find(values: Mapping[str, Any], wrong: set[Key]) -> list[Mistake]:
    """Mistakes that take several keys to see. Keys that are `wrong` by themselves are left out of it."""
    space: dict[str, Any] = {} if ("space",) in wrong else values.get("space", {})
    network: dict[str, Any] = {} if ("network",) in wrong else values.get("network", {})
    sweep: dict[str, Any] = {} if ("sweep",) in wrong else values.get("sweep", {})

    found = [mistake for name, written in space.items() for mistake in _range_mistakes(name, written, wrong)]
    if not {("network",), ("network", "builder")} & wrong:
        builder = network.get("builder", NetworkSection.model_fields["builder"].default)
        fixed = {} if ("network", "parameters") in wrong else network.get("parameters", {})
        spoiled = wrong | {key for key, _ in found}
        for name, value in fixed.items():
            found += _parameter_mistakes(("network", "parameters", name), value, builder, spoiled)
        for name, written in space.items():
            found += _dimension_mistakes(("space", name), written, builder, spoiled)
    if sweep.get("sampler") == "grid":
        spoiled = {key[:2] for key in wrong} | {key[:2] for key, _ in found}
        sound = [name for name in space if ("space", name) not in spoiled]
        found += _grid_mistakes({name: _DIMENSION.validate_python(space[name]) for name in sound}, len(space))
    return found


def _sound(key: Key, written: Any, wrong: set[Key]) -> dict[str, Any]:
    """What of a dimension is right by itself; choices are looked at one by one."""
    if not isinstance(written, dict):
        return {}
    sound = {name: value for name, value in written.items() if (*key, name) not in wrong}
    choices = written.get("choices")
    return {**sound, "choices": choices} if isinstance(choices, list) else sound


def _range_mistakes(name: str, written: Any, wrong: set[Key]) -> Iterator[Mistake]:
    sound = _sound(("space", name), written, wrong)
    if sound.get("type") in {"float", "int"}:
        ends = (sound.get("low"), sound.get("high"), sound.get("log", False), sound.get("step"))
        for key, message in range_mistakes(*ends):
            yield ("space", name, key), message


def _parameter_mistakes(key: Key, value: Any, builder: str, wrong: set[Key]) -> Iterator[Mistake]:
    """A fixed hyper-parameter that the network does not know, or that is out of its range."""
    parameter = _parameter(key[-1], builder)
    message = _name_mistake(key[-1], builder)
    if message is None and parameter is not None and key not in wrong:
        message = parameter.problem(value)
    if message is not None:
        yield key, message


def _dimension_mistakes(key: Key, written: Any, builder: str, wrong: set[Key]) -> Iterator[Mistake]:
    """A dimension that the network does not know, of the wrong type for it, or that leaves its range."""
    if message := _name_mistake(key[-1], builder):
        yield key, message
        return
    parameter = _parameter(key[-1], builder)
    sound = _sound(key, written, wrong)
    kind = sound.get("type")
    if parameter is None or kind is None:
        return
    if kind != "categorical" and parameter.kind in {bool, str}:
        values = ", ".join(parameter.choices or ("true", "false"))
        yield (*key, "type"), f"must be categorical for {key[-1]}; got {kind!r}; list choices of {values}"
    elif kind == "float" and parameter.kind is int:
        yield (*key, "type"), f"must be int or categorical for {key[-1]}, a whole number; got 'float'; write int"
    else:
        for end, value in _ends(kind, sound):
            if (*key, *end) not in wrong and (message := parameter.problem(value)):
                yield (*key, *end), message


def _ends(kind: str, sound: Mapping[str, Any]) -> Iterator[tuple[Key, Any]]:
    """The values of a dimension that must be legal for the network, each with its key."""
    if kind == "categorical":
        for index, choice in enumerate(sound.get("choices", ())):
            yield ("choices", str(index)), choice
    else:
        yield from (((end,), sound[end]) for end in ("low", "high") if end in sound)


def _parameter(name: str, builder: str) -> Parameter | None:
    known = parameters.known(builder)
    return (parameters.TRAINING if known is None else known).get(name)


def _name_mistake(name: str, builder: str) -> str | None:
    known = parameters.known(builder)
    if known is not None:
        if name in known:
            return None
        return f"unknown to {builder}{guess(name, known)}; known are {', '.join(known)}"
    if name in {"shape", "classes"}:
        return f"must not be {name}, which every network gets from the data set; rename it"
    if not name.isidentifier() or keyword.iskeyword(name):
        return f"must be the name of an argument of {builder}; got {name!r}; rename it"
    return None


def _grid_mistakes(space: Mapping[str, Dimension], dimensions: int) -> Iterator[Mistake]:
    """What a grid can't do. `space` holds the dimensions without mistakes, of all `dimensions`."""
    endless = [name for name, dim in space.items() if isinstance(dim, FloatDimension) and dim.step is None]
    for name in endless:
        yield ("space", name), "must have a step on a grid; got none; add step, list choices, or take another sampler"
    if len(space) == dimensions and not endless:
        points = prod(map(_values_on_a_grid, space.values()))
        if points > LARGEST_GRID:
            yield (
                ("sweep", "sampler"),
                f"must have at most {LARGEST_GRID:,} points on a grid; got {points:,}; widen the steps, or take tpe",
            )


def _values_on_a_grid(dimension: Dimension) -> int:
    if isinstance(dimension, CategoricalDimension):
        return len(dimension.choices)
    steps = (dimension.high - dimension.low) / (dimension.step or 1)
    return int(min(steps + 1e-9, 1e15)) + 1
