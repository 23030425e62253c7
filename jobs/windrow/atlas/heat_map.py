"""Plot errors over two hyper-parameters as a heat map: learning rate and network width, if both were searched.

docs/results.md has such a picture for MNIST.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from windrow.atlas.plot import Missing, Plot, limit_axis, number, parameter_axis, positions
from windrow.atlas.table import WIDTHS, SearchedParameter, TrialTable, error_of
from windrow.looks import style
from windrow.looks.numbers import two_digits
from windrow.sweep.outcomes import Ending

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "heat-map"

_FEW_VALUES = 8  # up to this many values of a parameter, each gets its own column
_MOST_BINS = 12
_MOST_NUMBERS = 60  # up to this many cells, the errors are written into them


@dataclass(frozen=True)
class Cells:
    """Trials by cell of the heat map.

    Attributes:
        medians: median errors, float (rows, columns); NaN where no trial ended ok.
        pruned, diverged: numbers of trials per cell, (rows, columns).
        x_edges, y_edges: the borders of the cells.
    """

    x_edges: Any
    y_edges: Any
    medians: Any
    pruned: Any
    diverged: Any

    def centre(self, row: int, column: int, x_log: bool, y_log: bool) -> tuple[float, float]:
        """Return the centre of a cell as drawn: on a log axis, the geometric mean of its edges."""
        return _middle(self.x_edges, column, x_log), _middle(self.y_edges, row, y_log)


def pair(table: TrialTable, important: Sequence[str]) -> tuple[SearchedParameter, SearchedParameter] | None:
    """Return the two parameters to draw: learning rate and width, or the most important others in place of either.

    Only numeric parameters that differ among trials count. Return None if there are fewer than two.
    """
    widths = (table.parameter(name) for name in WIDTHS)
    rate = table.parameter("learning_rate")
    width = next((width for width in widths if width and width.numeric), None)
    wanted = [parameter for parameter in (rate, width) if parameter is not None and parameter.numeric]
    ranked = sorted(table.parameters, key=lambda each: important.index(each.name) if each.name in important else 99)
    wanted += [parameter for parameter in ranked if parameter.numeric and parameter not in wanted]
    return (wanted[0], wanted[1]) if len(wanted) > 1 else None


def draw(table: TrialTable, important: Sequence[str]) -> Plot | Missing:
    """Plot the median error per cell. Trials of the same point count as one, with their median error."""
    chosen = pair(table, important)
    if chosen is None:
        return Missing(NAME, "a heat map needs two numeric hyper-parameters that differ among the trials")
    x, y = chosen
    cells = fill(table, x, y)
    if np.isnan(cells.medians).all() and not cells.diverged.any() and not cells.pruned.any():
        return Missing(NAME, f"no trial has both {x.words} and {y.words}")
    figure, axes = style.axes(3.5)
    _paint(axes, cells, table)
    _mark(axes, cells, x.log, y.log)
    for axis, parameter, edges in ((axes.xaxis, x, cells.x_edges), (axes.yaxis, y, cells.y_edges)):
        parameter_axis(axis, parameter)
        limit_axis(axis, edges[0], edges[-1])
    title = _title(table, cells, x, y)
    alt = f"Heat map of the median {table.measure} by {x.words} and {y.words}. {title}."
    return Plot(NAME, title, figure, alt, _notes(table))


def fill(table: TrialTable, x: SearchedParameter, y: SearchedParameter) -> Cells:
    """Return the cells of the trials that have both parameters."""
    trials = [trial for trial in table.trials if x.name in trial.point and y.name in trial.point]
    places = np.array([positions(x, trials), positions(y, trials)])
    points = len({(trial.point[x.name], trial.point[y.name]) for trial in trials})
    bins = int(np.clip(round((points / 1.5) ** 0.5), 3, _MOST_BINS))
    edges = [_edges(parameter, bins) for parameter in (x, y)]
    columns, rows = (np.digitize(place, edge[1:-1]) for place, edge in zip(places, edges, strict=True))
    shape = (len(edges[1]) - 1, len(edges[0]) - 1)
    medians, pruned, diverged = np.full(shape, np.nan), np.zeros(shape, int), np.zeros(shape, int)
    by_point: dict[tuple[int, int], dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    for trial, row, column in zip(trials, rows, columns, strict=True):
        if trial.ending is Ending.OK:
            by_point[row, column][trial.point[x.name], trial.point[y.name]].append(max(error_of(trial), table.floor))
        pruned[row, column] += trial.ending is Ending.PRUNED
        diverged[row, column] += trial.ending is Ending.DIVERGED
    for cell, repeats in by_point.items():
        medians[cell] = median(median(errors) for errors in repeats.values())
    return Cells(edges[0], edges[1], medians, pruned, diverged)


def _edges(parameter: SearchedParameter, bins: int) -> Any:
    """Return the borders of the cells on an axis: a cell per value if there are only a few values, else `bins` cells.

    The `bins` cells are equally wide; on a log axis, the ratio of the two borders is the same for each.
    """
    values = np.array(parameter.values, float)
    if parameter.log:
        values = np.log(values)
    if len(values) <= _FEW_VALUES:
        middles = (values[1:] + values[:-1]) / 2
        ends = [2 * values[0] - middles[0], *middles, 2 * values[-1] - middles[-1]]
    else:
        ends = np.linspace(values[0], values[-1], bins + 1).tolist()
    return np.exp(ends) if parameter.log else np.array(ends)


def _middle(edges: Any, index: int, log: bool) -> float:
    low, high = edges[index : index + 2]
    return float((low * high) ** 0.5 if log else (low + high) / 2)


def _paint(axes: Axes, cells: Cells, table: TrialTable) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import NullFormatter

    if np.isnan(cells.medians).all():
        return
    low, high = np.nanmin(cells.medians), np.nanpercentile(cells.medians, 95)
    norm = LogNorm(low, max(high, low * 1.01))
    shown = np.ma.masked_invalid(cells.medians)
    mesh = axes.pcolormesh(
        cells.x_edges, cells.y_edges, shown, cmap=f"{style.SEQUENTIAL}_r", norm=norm, edgecolors=style.PAPER, lw=0.8
    )
    drawn = axes.figure.colorbar(
        mesh, ax=axes, aspect=28, pad=0.02, extend="max" if shown.max() > norm.vmax else "neither"
    )
    drawn.outline.set_visible(False)
    scale_ticks = [low, (low * norm.vmax) ** 0.5, norm.vmax]
    drawn.ax.yaxis.set_minor_formatter(NullFormatter())
    drawn.set_ticks(scale_ticks, labels=[two_digits(tick) for tick in scale_ticks], minor=False)
    drawn.ax.tick_params(which="both", length=0)
    drawn.set_label(f"median {table.measure}")


def _mark(axes: Axes, cells: Cells, x_log: bool, y_log: bool) -> None:
    """Mark cells with diverged or only pruned trials, and outline the best cell.

    In a map of at most 60 cells, also write the errors into the cells.
    """
    empty = np.isnan(cells.medians)
    diverged, pruned = empty & (cells.diverged > 0), empty & (cells.diverged == 0) & (cells.pruned > 0)
    some = ~empty & (cells.diverged > 0)
    kinds = (("all diverged", "x", style.DIVERGED, diverged, 44), ("some diverged", "x", style.DIVERGED, some, 9))
    for label, marker, colour, where, size in (*kinds, ("pruned early", "_", style.PRUNED, pruned, 44)):
        centres = [cells.centre(int(row), int(column), x_log, y_log) for row, column in np.argwhere(where)]
        if centres:
            shift = _corner(axes) if where is some else axes.transData
            x, y = zip(*centres, strict=True)
            axes.scatter(x, y, s=size, marker=marker, color=colour, transform=shift, label=label, lw=1.3)
    if not empty.all():
        _mark_best(axes, cells)
        if cells.medians.size <= _MOST_NUMBERS:
            _write(axes, cells, x_log, y_log)
    style.key(axes)


def _corner(axes: Axes) -> Any:
    from matplotlib.transforms import ScaledTranslation

    return axes.transData + ScaledTranslation(0.11, 0.08, axes.figure.dpi_scale_trans)


def _mark_best(axes: Axes, cells: Cells) -> None:
    from matplotlib.patches import Rectangle

    row, column = np.unravel_index(int(np.nanargmin(cells.medians)), cells.medians.shape)
    left, right = cells.x_edges[column : column + 2]
    low, high = cells.y_edges[row : row + 2]
    frame = Rectangle((left, low), right - left, high - low, fill=False, ec=style.BEST, lw=2.2, label="least")
    axes.add_patch(frame)


def _write(axes: Axes, cells: Cells, x_log: bool, y_log: bool) -> None:
    middle = np.nanmedian(cells.medians)
    for (row, column), error in np.ndenumerate(cells.medians):
        if not np.isnan(error):
            colour = "#fdfdfd" if error > middle else "#111111"  # contrasts with the cell, in either theme
            x, y = cells.centre(row, column, x_log, y_log)
            axes.text(x, y, two_digits(float(error)), ha="center", va="center", fontsize=7, color=colour)


def _title(table: TrialTable, cells: Cells, x: SearchedParameter, y: SearchedParameter) -> str:
    if np.isnan(cells.medians).all():
        return f"No trial with its {x.words} and {y.words} ended ok"
    row, column = map(int, np.unravel_index(int(np.nanargmin(cells.medians)), cells.medians.shape))
    at = cells.centre(row, column, x.log, y.log)
    text = table.shown(float(cells.medians[row, column]))
    return f"Errors are least near {x.words} {number(_near(x, at[0]))} and {y.words} {number(_near(y, at[1]))}: {text}"


def _near(parameter: SearchedParameter, place: float) -> float | int:
    """Return the value to show for a position: the nearest of the parameter's values if there are only a few.

    If there are many, return the position itself, rounded if all values are integers.
    """
    values = [value for value in parameter.values if not isinstance(value, str)]
    if len(values) <= _FEW_VALUES:
        return min(values, key=lambda value: abs(value - place))
    return round(place) if all(isinstance(value, int) for value in values) else place


def _notes(table: TrialTable) -> tuple[str, ...]:
    return ("Each cell has the median over its points, and of each point the median over its seeds.", *table.floor_note)
