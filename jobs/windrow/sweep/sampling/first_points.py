"""List the points that no sampler draws: those that are trained first, and all points of a small space."""

from __future__ import annotations

import math
from collections.abc import Mapping

from windrow.experiment import Experiment, FloatDimension
from windrow.experiment.parameters import Value
from windrow.sweep.sampling import space

_SMALL_SPACE = 1000  # points; a sweep is not expected to try all points of a larger space

Point = dict[str, Value]


def first_points(page: Experiment, defaults: Mapping[str, Value], champion: Point | None) -> list[Point]:
    """Return the points to train first, without duplicates: the default configuration, the champion's, the page's own.

    Where the search chooses between squashed and cropped images, the default configuration with each of them follows.
    Incomplete points are left out. If the sampler is grid, the points of the grid follow.
    """
    tried = () if champion is None else (champion,)
    points = [space.filled(page.space, point, defaults) for point in ({}, *tried, *page.sweep.points)]
    fit = page.space.get("fit") if page.dataset.fit == "both" and page.sweep.sampler != "sensitivity" else None
    if fit is not None and fit.type == "categorical":
        ways = [space.filled(page.space, {"fit": way}, defaults) for way in fit.choices]
        points += [point for point in ways if space.allowed(page.constraints, {**defaults, **point})]
    points = [point for point in points if space.complete(page.space, point, defaults)]
    if page.sweep.sampler == "grid":
        points += space.grid(page.space, page.constraints, defaults, page.sweep.seed)
    return list({key_of(point): point for point in points}.values())


def all_points(page: Experiment, defaults: Mapping[str, Value]) -> set[tuple[tuple[str, Value], ...]] | None:
    """Return every point of a small finite space that satisfies the constraints.

    None for a large or continuous space, and for the sensitivity design.
    """
    if page.sweep.sampler == "sensitivity":
        return None  # each point is trained several times, with different seeds
    if any(isinstance(dimension, FloatDimension) and not dimension.step for dimension in page.space.values()):
        return None
    if math.prod(space.count(dimension) for dimension in page.space.values()) > _SMALL_SPACE:
        return None
    return {key_of(point) for point in space.grid(page.space, page.constraints, defaults)}


def key_of(point: Point) -> tuple[tuple[str, Value], ...]:
    """Return a point in a form that can be an element of a set."""
    return tuple(sorted(point.items()))
