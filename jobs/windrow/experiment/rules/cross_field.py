"""Find mistakes that involve several keys of a page: the ends of a range, the network's limits, the size of a grid."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from pydantic import TypeAdapter

from windrow.experiment import conditions, parameters
from windrow.experiment.dimensions import CategoricalDimension, Dimension, FloatDimension, range_mistakes
from windrow.experiment.network_section import NetworkSection, builder_of
from windrow.experiment.parameters import Parameter, Value
from windrow.experiment.rules import (
    backbone_keys,
    fine_tune,
    labelled_urls,
    network_file,
    points,
    preference,
    sensitivity,
    two_goals,
)
from windrow.experiment.sections import BUILT_IN_SOURCES, CHAMPION, LEARNERS, SweepSection
from windrow.experiment.wording import Key, Mistake, guess

EXAMPLE = "learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}"

LARGEST_GRID = 100_000
"""The most points of a grid: as many as a sweep may have trials. Optuna lists all points before it starts."""

_TRAINING = ("dataset", "network", "constraints", "sweep", "promotion")
"""Keys that only a page with a space may have."""

_DIMENSION: TypeAdapter[Dimension] = TypeAdapter(Dimension)


def find(values: Mapping[str, Any], wrong: set[Key]) -> list[Mistake]:
    """Return the mistakes that involve several keys. Keys that are wrong by themselves, in `wrong`, are skipped."""
    space, dataset, network, sweep, promotion, scoring = (
        _section(values, name, wrong) for name in ("space", "dataset", "network", "sweep", "promotion", "scoring")
    )

    found = [*_space_mistakes(values, scoring), *network_file.mistakes(scoring, wrong)]
    found += backbone_keys.mistakes(dataset, network, space, promotion, BUILT_IN_SOURCES, wrong)
    found += fine_tune.mistakes(promotion, network, wrong)
    found += labelled_urls.mistakes(dataset, BUILT_IN_SOURCES, wrong)
    found += preference.mistakes(promotion, sweep, wrong)
    found += [mistake for name, written in space.items() for mistake in _range_mistakes(name, written, wrong)]
    if not {("network",), ("network", "builder")} & wrong:
        builder = builder_of(network)
        fixed = {} if ("network", "parameters") in wrong else network.get("parameters", {})
        spoiled = wrong | {key for key, _ in found}
        for name, value in fixed.items():
            found += _parameter_mistakes(("network", "parameters", name), value, builder, spoiled)
        for name, written in space.items():
            found += _dimension_mistakes(("space", name), written, builder, spoiled)
    spoiled = {key[:2] for key in wrong} | {key[:2] for key, _ in found}
    sound = {name: _DIMENSION.validate_python(space[name]) for name in space if ("space", name) not in spoiled}
    if sweep.get("sampler") == "grid":
        found += _grid_mistakes(sound, len(space))
    found += _sweep_mistakes(sweep, wrong)
    if sweep.get("after_drift") is not None and "scoring" not in values:
        message = "must be empty on a page that does not score, where nothing can move; "
        found.append((("sweep", "after_drift"), f"{message}got {sweep['after_drift']}; add scoring, or remove it"))
    defaults = None if "network" in {key[0] for key in spoiled} else _defaults(network)
    found += conditions.mistakes(_written_conditions(space, wrong), space, sound, defaults)
    # The checks below need the whole space and the network without mistakes.
    if defaults is not None and not any(map(_is_about_points, {*wrong, *(key for key, _ in found)})):
        found += points.mistakes(values, sound, defaults)
        if not any(key[:2] == ("sweep", "sensitivity") for key in wrong):
            found += sensitivity.mistakes(sweep, sound, defaults)
    return found


def _section(values: Mapping[str, Any], name: str, wrong: set[Key]) -> dict[str, Any]:
    """Return a section as it is on the page; empty if it is absent, or wrong by itself."""
    return {} if (name,) in wrong else values.get(name) or {}


def _space_mistakes(values: Mapping[str, object], scoring: Mapping[str, object]) -> Iterator[Mistake]:
    """Yield a mistake if the space is missing, unless the page only labels with an existing network."""
    if "space" in values:
        return
    lone = f"add at least one hyper-parameter under it, for example {EXAMPLE}"
    if scoring.get("network") is None and scoring.get("model") is None:
        yield ("space",), f"is missing; {lone}"
    elif trained := [name for name in _TRAINING if name in values]:
        yield ("space",), f"is missing, so the page only scores; got {', '.join(trained)}; remove that, or {lone}"


def _is_about_points(key: Key) -> bool:
    return key[0] in {"space", "constraints"} or key == ("sweep",) or key[:2] == ("sweep", "points")


def _defaults(network: Mapping[str, object]) -> dict[str, Value]:
    return NetworkSection.model_validate(network).defaults()


def _written_conditions(space: Mapping[str, object], wrong: set[Key]) -> dict[str, dict[str, object]]:
    """Return each dimension's `when`, without conditions that are wrong by themselves."""
    found = {}
    for name, written in space.items():
        when = written.get("when") if isinstance(written, dict) else None
        sound = when if isinstance(when, dict) else {}
        spoiled = {key[3] for key in wrong if key[:3] == ("space", name, "when") and len(key) > 3}
        found[name] = {parent: values for parent, values in sound.items() if parent not in spoiled}
    return found


def _sweep_mistakes(sweep: Mapping[str, object], wrong: set[Key]) -> Iterator[Mistake]:
    """Yield mistakes for keys of the sweep that do not go together."""

    def value(name: str) -> Any:
        return None if ("sweep", name) in wrong else sweep.get(name, SweepSection.model_fields[name].default)

    pruner = value("pruner") or "none"
    if pruner != "none" and value("deterministic"):
        message = f"must be false with a pruner, which depends on what ends first; got true and {pruner}; drop either"
        yield ("sweep", "deterministic"), message
    if pruner != "none" and value("epochs") == 1:
        message = f"must be none where a trial has one epoch, so nothing to prune; got {pruner!r}; raise epochs"
        yield ("sweep", "pruner"), message
    yield from two_goals.mistakes(sweep, wrong)
    if value("warm_start") == CHAMPION:
        if value("sampler") == "sensitivity":
            message = "must be empty with the sampler sensitivity, whose points are given; got champion; remove it"
            yield ("sweep", "warm_start"), message
    elif value("warm_start") and value("sampler") not in {*LEARNERS, None}:
        message = (
            f"must be empty with a sampler that learns nothing; got sampler {value('sampler')}; "
            f"take {', '.join(LEARNERS[:-1])} or {LEARNERS[-1]}"
        )
        yield ("sweep", "warm_start"), message


def _sound(key: Key, written: Any, wrong: set[Key]) -> dict[str, Any]:
    """Return a dimension's keys that are right by themselves, and all `choices`, which are checked one by one."""
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
    """Yield a mistake for a fixed hyper-parameter that the network does not know, or that is out of its range."""
    parameter = _parameter(key[-1], builder)
    message = _name_mistake(key[-1], builder)
    if message is None and parameter is not None and key not in wrong:
        message = parameter.problem(value)
    if message is not None:
        yield key, message


def _dimension_mistakes(key: Key, written: Any, builder: str, wrong: set[Key]) -> Iterator[Mistake]:
    """Yield mistakes for a dimension that the network does not know, or whose type or values are not legal for it."""
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
    """Yield the values of a dimension that must be legal for the network, each with its key."""
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
    """Yield a mistake for each dimension that a grid can't enumerate, and for a grid with too many points.

    Args:
        space: the dimensions without mistakes.
        dimensions: number of dimensions on the page.
    """
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
