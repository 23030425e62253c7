"""Compute a heat map of two hyper-parameters: group trials into cells, and grade each cell.

The atlas of a study has a similar heat map (windrow/atlas/heat_map.py). This one needs neither the experiment page nor
NumPy, also takes parameters without numbers, and is computed again for each request.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, quantiles
from typing import TypedDict

from windrow.experiment.parameters import Value
from windrow.looks.numbers import two_digits
from windrow.ui.ledgers import TrialSummary

SHADES = 7
"""Number of shades from the poorest to the best."""

_FEW_VALUES = 8  # up to this many distinct values of a parameter, each gets its own column
_MOST_BINS = 12
_LOG_MEDIAN = 0.25  # numbers with a median below this part of their range get logarithmic bins
_FAVOURITES = ("learning_rate", "units", "filters", "width")


class ShownCell(TypedDict):
    """Trials of one pair of groups.

    Attributes:
        median: median of the objective over the trials that ended ok; None without such trials.
        shade: from 0 (poor) to SHADES - 1 (best); None without a median.
        ok, other: number of trials that ended ok, and number of trials that ended otherwise.
    """

    median: float | None
    shade: int | None
    ok: int
    other: int


class ShownHeatMap(TypedDict):
    """Names of both axes, labels of their groups, cells by row and column (None if empty), and the number of trials."""

    x: str
    y: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: list[list[ShownCell | None]]
    trials: int


@dataclass(frozen=True)
class Axis:
    """A hyper-parameter's groups: the single `values`, or the ranges between `edges`."""

    name: str
    labels: tuple[str, ...]
    values: tuple[Value, ...] = ()
    edges: tuple[float, ...] = ()

    def place(self, value: Value) -> int:
        """Return the index of the group that a value is in."""
        if self.edges:
            return min(max(bisect_right(self.edges, float(value)) - 1, 0), len(self.labels) - 1)
        return self.values.index(value)


def parameters(trials: Sequence[TrialSummary]) -> list[str]:
    """Return the hyper-parameters that differ among trials, those in _FAVOURITES first."""
    seen: dict[str, set[Value]] = {}
    for trial in trials:
        for name, value in trial.point.items():
            seen.setdefault(name, set()).add(value)
    differing = [name for name, values in seen.items() if len(values) > 1]
    return sorted(differing, key=lambda name: _FAVOURITES.index(name) if name in _FAVOURITES else 99)


def fill(trials: Sequence[TrialSummary], x: str, y: str, falls: bool, share: bool) -> ShownHeatMap:
    """Return the heat map of trials that have ended.

    Args:
        trials: the trials of a study; unfinished trials are left out.
        x, y: names of two different hyper-parameters.
        falls: whether less is better.
        share: whether values are shares close to 1, which are graded by their distance to 1.
    """
    ended = [trial for trial in trials if trial.ending and x in trial.point and y in trial.point]
    across, down = (axis(name, [trial.point[name] for trial in ended]) for name in (x, y))
    cells: dict[tuple[int, int], list[TrialSummary]] = {}
    for trial in ended:
        cells.setdefault((down.place(trial.point[y]), across.place(trial.point[x])), []).append(trial)
    middles = {place: _median(found) for place, found in cells.items()}
    shades = _shades({place: value for place, value in middles.items() if value is not None}, falls, share)
    rows = [
        [_cell(cells.get((row, column)), middles.get((row, column)), shades.get((row, column)))
         for column in range(len(across.labels))]
        for row in range(len(down.labels))
    ]  # fmt: skip
    return {"x": x, "y": y, "columns": across.labels, "rows": down.labels, "cells": rows, "trials": len(ended)}


def axis(name: str, values: Sequence[Value]) -> Axis:
    """Return the groups of a hyper-parameter's values: one per value, but ranges for more than 8 numbers."""
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    distinct = tuple(sorted(set(values), key=float)) if numeric else tuple(sorted(set(values), key=str))
    if not numeric or len(distinct) <= _FEW_VALUES:
        return Axis(name, tuple(map(_text, distinct)), values=distinct)
    bins = min(_MOST_BINS, max(3, round((len(values) / 1.5) ** 0.5)))
    edges = _edges([float(value) for value in distinct], median(map(float, values)), bins)
    return Axis(name, tuple(f"{two_digits(low)} to {two_digits(high)}" for low, high in pairwise(edges)), edges=edges)


def _edges(values: Sequence[float], middle: float, bins: int) -> tuple[float, ...]:
    low, high = values[0], values[-1]
    if low > 0 and (middle - low) / (high - low) < _LOG_MEDIAN:
        step = math.log(high / low) / bins
        return tuple(low * math.exp(step * place) for place in range(bins + 1))
    return tuple(low + (high - low) * place / bins for place in range(bins + 1))


def _median(trials: Sequence[TrialSummary]) -> float | None:
    values = [trial.value for trial in trials if trial.value is not None and math.isfinite(trial.value)]
    return median(values) if values else None


def _shades(values: dict[tuple[int, int], float], falls: bool, share: bool) -> dict[tuple[int, int], int]:
    """Return a shade for each cell, on a log scale of its distance to the ideal, so that good cells differ most."""
    lost = {place: (1 - value if share else value if falls else -value) for place, value in values.items()}
    positive = [value for value in lost.values() if value > 0]
    if not positive:
        return dict.fromkeys(lost, SHADES - 1)
    best = min(positive)
    poor = max(quantiles(positive, n=20, method="inclusive")[18] if len(positive) > 1 else best, best * 1.01)
    scale = math.log(poor / best)
    return {
        place: round((SHADES - 1) * min(1.0, max(0.0, math.log(poor / max(value, best)) / scale)))
        for place, value in lost.items()
    }


def _cell(trials: Sequence[TrialSummary] | None, middle: float | None, shade: int | None) -> ShownCell | None:
    if trials is None:
        return None
    ok = sum(trial.value is not None for trial in trials)
    return {"median": middle, "shade": shade, "ok": ok, "other": len(trials) - ok}


def _text(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
