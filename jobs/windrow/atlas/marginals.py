"""Plot the error over each hyper-parameter, and all hyper-parameters together as parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from windrow.atlas.plot import Missing, Plot, bitmap_note, marks, measure_axis, number, parameter_axis, positions
from windrow.atlas.table import DrawnTrial, SearchedParameter, TrialTable
from windrow.looks import style
from windrow.plural import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGINALS, PARALLEL = "marginals", "parallel-coordinates"

_BEST = 10
_LEAST_BIN = 3  # trials; a bin with fewer has no median
_BINS = 8


def draw_marginals(table: TrialTable, important: Sequence[str]) -> Plot | Missing:
    """Plot the error over each parameter, the most important parameter first, for the trials that ended ok."""
    if not table.ranked or not table.parameters:
        return Missing(MARGINALS, "marginal plots need a trial that ended ok and a hyper-parameter that differs")
    ranked = sorted(table.parameters, key=lambda each: important.index(each.name) if each.name in important else 99)
    rows = math.ceil(len(ranked) / 2)
    figure = style.figure(0.4 + 1.75 * rows)
    shared: Any = None
    for place, parameter in enumerate(ranked):
        axes = shared = figure.add_subplot(rows, 2, place + 1, sharey=shared)
        _draw_marginal(axes, table, parameter)
        axes.tick_params(labelleft=place % 2 == 0)
        axes.set_ylabel("")
    figure.supylabel(table.measure, fontsize=9)
    title = _marginals_title(table, ranked[0])
    alt = f"{table.measure} over {', '.join(each.words for each in ranked)}, a dot a trial, with medians. {title}."
    notes = ("Dots are trials that ended ok, the large one is the best; steps are medians.", *table.floor_note)
    return Plot(MARGINALS, title, figure, alt, (*notes, *bitmap_note(len(table.ranked))))


def _draw_marginal(axes: Axes, table: TrialTable, parameter: SearchedParameter) -> None:
    trials = [trial for trial in table.ranked if parameter.name in trial.point]
    places, heights = positions(parameter, trials), np.array(table.heights(trials))
    jitter = np.random.default_rng(0).uniform(-0.12, 0.12, len(places)) if not parameter.numeric else 0
    marks(axes, places + jitter, heights, alpha=0.3)
    measure_axis(axes.yaxis, table)
    parameter_axis(axes.xaxis, parameter)
    if len(trials):
        _draw_medians(axes, parameter, places, heights)
    best = table.best
    if best is not None and parameter.name in best.point:
        axes.scatter(
            positions(parameter, [best]), table.heights([best]), s=34, color=style.BEST, zorder=4, ec=style.PAPER
        )
    if not parameter.numeric:
        axes.set_xlim(-0.5, len(parameter.values) - 0.5)


def _draw_medians(axes: Axes, parameter: SearchedParameter, places: Any, heights: Any) -> None:
    """Draw a short line at the median error of each bin of trials.

    A bin is one value of a parameter with few values, else a range; a bin with too few trials gets no line.
    """
    values = np.log(places) if parameter.log else places
    distinct = np.unique(values)
    if len(distinct) <= _BINS:
        middles = (distinct[1:] + distinct[:-1]) / 2
        half = (np.diff(distinct).min() / 2 if len(distinct) > 1 else 0.5) * 0.8
        spans = [(value - half, value + half) for value in distinct]
    else:
        edges = np.linspace(values.min(), values.max(), _BINS + 1)
        middles, spans = edges[1:-1], list(pairwise(edges))
    inside = np.digitize(values, middles)
    for place, span in enumerate(spans):
        found = heights[inside == place]
        if len(found) >= min(_LEAST_BIN, len(heights)):
            ends = np.exp(span) if parameter.log else span
            axes.plot(ends, [np.median(found)] * 2, color=style.INK, lw=2, solid_capstyle="butt")


def _marginals_title(table: TrialTable, parameter: SearchedParameter) -> str:
    best = [trial.point[parameter.name] for trial in table.ranked[:_BEST] if parameter.name in trial.point]
    if not best:
        return f"The best trials do not search {parameter.words}"
    if not parameter.numeric:
        most = max(set(best), key=best.count)
        have = "has" if best.count(most) == 1 else "have"
        return f"{best.count(most)} of the best {counted(len(best), 'trial')} {have} {parameter.words} {number(most)}"
    middle = float(np.median(np.array(best, float)))
    whole = all(isinstance(value, int) for value in parameter.values)
    return f"The best trials have {parameter.named} near {number(round(middle) if whole else middle)}"


def draw_parallel(table: TrialTable, important: Sequence[str]) -> Plot | Missing:
    """Plot a line per trial that ended ok in parallel coordinates, from top to bottom so that names fit on a phone."""
    if not table.ranked or not table.parameters:
        return Missing(PARALLEL, "parallel coordinates need a trial that ended ok and a hyper-parameter that differs")
    ranked = sorted(table.parameters, key=lambda each: important.index(each.name) if each.name in important else 99)
    figure, axes = style.axes(0.9 + 0.5 * (len(ranked) + 1))
    lines = np.array([*(_shares(each, table.ranked) for each in ranked), _error_shares(table)]).T
    best = max(1, min(_BEST, len(lines) // 3))
    _draw_lines(axes, lines[best:][::-1], style.OK, 0.12 if len(lines) > 200 else 0.3, 0.6)
    _draw_lines(axes, lines[1:best][::-1], style.BEST, 0.75, 1.0)
    _draw_lines(axes, lines[:1], style.BEST, 1.0, 2.4)
    for row, parameter in enumerate(ranked):
        _draw_axis(axes, row, _ends(parameter))
    heights = table.heights(table.ranked)
    _draw_axis(axes, len(ranked), [(0.0, table.shown(heights[0])), (1.0, table.shown(heights[-1]))])
    names = [each.words for each in ranked]
    axes.set_yticks(range(len(names) + 1), [*names, table.measure.partition(",")[0].replace(" ", "\n")])
    axes.set_ylim(len(names) + 0.3, -0.45)
    axes.set_xlim(-0.04, 1.04)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    title = _parallel_title(table, ranked)
    ended = f"{counted(len(lines), 'trial')} that ended ok"
    alt = f"Parallel coordinates of {', '.join(names)} and error for {ended}. {title}."
    notes = (f"One line a trial that ended ok, from its hyper-parameters down to its error; orange: the best {best}.",)
    return Plot(PARALLEL, title, figure, alt, (*notes, *bitmap_note(len(lines)), *_gaps_note(ranked)))


def _shares(parameter: SearchedParameter, trials: Sequence[DrawnTrial]) -> Any:
    """Return trials' values of a parameter, scaled to 0 for the lowest and 1 for the highest; NaN if not searched."""
    places = positions(parameter, trials)
    ends = (
        np.array([parameter.values[0], parameter.values[-1]], float)
        if parameter.numeric
        else np.array([0, len(parameter.values) - 1], float)
    )
    if parameter.log:
        places, ends = np.log(places), np.log(ends)
    return (places - ends[0]) / (ends[1] - ends[0])


def _error_shares(table: TrialTable) -> Any:
    heights = np.log(table.heights(table.ranked))
    return (heights - heights[0]) / max(heights[-1] - heights[0], 1e-9)


def _draw_lines(axes: Axes, lines: Any, colour: str, alpha: float, width: float) -> None:
    from matplotlib.collections import LineCollection

    rows = np.arange(lines.shape[1])
    drawn = [np.column_stack([line, rows]) for line in lines]
    axes.add_collection(LineCollection(drawn, colors=colour, alpha=alpha, lw=width, rasterized=len(drawn) > 50))


def _ends(parameter: SearchedParameter) -> list[tuple[float, str]]:
    """Return positions, 0 to 1, and labels for an axis: of each value if there are only a few, else of the two ends."""
    few = (
        parameter.values
        if len(parameter.values) <= 4 or not parameter.numeric
        else (parameter.values[0], parameter.values[-1])
    )
    if not parameter.numeric:
        last = len(few) - 1
        return [(place / last, number(value)[:10]) for place, value in enumerate(few)]
    ends = np.array([parameter.values[0], parameter.values[-1], *few], float)
    ends = np.log(ends) if parameter.log else ends
    return [
        (float((at - ends[0]) / (ends[1] - ends[0])), number(value)) for at, value in zip(ends[2:], few, strict=True)
    ]


def _draw_axis(axes: Axes, row: int, labels: Sequence[tuple[float, str]]) -> None:
    axes.plot([0, 1], [row, row], color=style.QUIET, lw=0.8, zorder=3)
    for place, text in labels:
        at = "left" if place == 0 else "right" if place == 1 else "center"
        axes.plot([place], [row], marker="|", ms=5, color=style.QUIET, zorder=3)
        axes.annotate(
            text,
            (place, row),
            (0, 4),
            textcoords="offset points",
            ha=at,
            va="bottom",
            fontsize=7.5,
            bbox={"fc": style.PAPER, "ec": "none", "alpha": 0.75, "pad": 0.6},
            zorder=4,
        )


def _parallel_title(table: TrialTable, ranked: Sequence[SearchedParameter]) -> str:
    best = table.ranked[: max(2, min(_BEST, len(table.ranked) // 2))]
    spreads = {each: float(np.ptp(_shares(each, best))) for each in ranked if all(each.name in t.point for t in best)}
    if not spreads or len(table.ranked) < 4:
        return f"{counted(len(table.ranked), 'trial')} ended ok"
    narrow, wide = min(spreads, key=lambda each: spreads[each]), max(spreads, key=lambda each: spreads[each])
    return f"The best {len(best)} trials agree most on {narrow.words} and least on {wide.words}"


def _gaps_note(ranked: Sequence[SearchedParameter]) -> tuple[str, ...]:
    names = ", ".join(each.words for each in ranked if each.conditional)
    return (f"Lines are interrupted where a parameter was not searched: {names}.",) if names else ()
