"""Plot error against learning rate, one line per network width, and the learning curves of the trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from windrow.atlas.heat_map import pair
from windrow.atlas.plot import Missing, Plot, bitmap_note, marks, measure_axis, number, parameter_axis, positions
from windrow.atlas.table import DrawnTrial, SearchedParameter, TrialTable
from windrow.looks import style
from windrow.plural import counted
from windrow.sweep.outcomes import Ending

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATES, EPOCHS = "error-curves", "learning-curves"

_MOST_LINES = 5  # lines in the plot; with more widths than this, a line stands for a range of widths
_MOST_BINS = 8
_GOOD = 1.5  # a trial is good enough up to this many times the least error
_BEST, _DIVERGED, _OTHERS = 5, 10, 150  # trials whose learning curves are drawn


def draw_rates(table: TrialTable, important: Sequence[str]) -> Plot | Missing:
    """Plot median error against learning rate, one line per width or range of widths.

    If learning rate or width does not differ among the trials, plot the two parameters that heat_map.pair chooses.
    """
    chosen = pair(table, important)
    if chosen is None or not table.ranked:
        return Missing(RATES, "curves need two numeric hyper-parameters that differ, and a trial that ended ok")
    x, width = chosen
    trials = [trial for trial in table.ranked if x.name in trial.point and width.name in trial.point]
    if not trials:
        return Missing(RATES, f"no trial that ended ok has both {x.words} and {width.words}")
    figure, axes = style.axes(3.3)
    lines = _lines(table, trials, x, width)
    marks(axes, positions(x, trials), table.heights(trials), style.PRUNED, alpha=0.25)
    measure_axis(axes.yaxis, table)
    parameter_axis(axes.xaxis, x)
    _draw_lines(axes, lines, width)
    _mark_diverged(axes, table, x)
    title = _rates_title(table, trials, x)
    text = f"a line for each of {counted(len(lines), 'value or range', 'values or ranges')} of {width.words}"
    alt = f"{table.measure} against {x.words}, {text}. {title}."
    notes = (
        "Validation, not test: the search does not see the test split.",
        f"Lines are medians in at most {_MOST_BINS} bins.",
        f"Good enough: at most {_GOOD:g} times the least error. Each grey dot is a trial.",
        *bitmap_note(len(trials)),
        *table.floor_note,
    )
    return Plot(RATES, title, figure, alt, notes)


Line = tuple[str, list[float], list[float]]


def _lines(
    table: TrialTable, trials: Sequence[DrawnTrial], x: SearchedParameter, width: SearchedParameter
) -> list[Line]:
    """Return (name, positions on the x axis, median errors) for each line, from narrow to wide networks."""
    groups = _groups(trials, width)
    places = positions(x, trials)
    values = np.log(places) if x.log else places
    distinct = len(set(values.tolist()))
    edges = np.linspace(values.min(), values.max() + 1e-12, min(_MOST_BINS, distinct) + 1)[1:-1]
    bins = np.digitize(values, edges) if distinct > _MOST_BINS else np.unique(values, return_inverse=True)[1]
    lines = []
    for name, members in groups:
        inside: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for index in members:
            inside[int(bins[index])].append((float(values[index]), table.heights([trials[index]])[0]))
        found = [(median(v for v, _ in pairs), median(e for _, e in pairs)) for _, pairs in sorted(inside.items())]
        at = [float(np.exp(place)) if x.log else place for place, _ in found]
        lines.append((name, at, [error for _, error in found]))
    return lines


def _groups(trials: Sequence[DrawnTrial], width: SearchedParameter) -> list[tuple[str, list[int]]]:
    """Return (name, indices of trials) for each group of widths, from narrow to wide.

    A group is one width, or a range of widths if there are many; the ranges have about equally many trials.
    """
    sizes = positions(width, trials)
    distinct = np.unique(sizes)
    if len(distinct) <= _MOST_LINES:
        return [(_size(width, value), np.flatnonzero(sizes == value).tolist()) for value in distinct]
    cuts = np.unique(np.quantile(sizes, np.linspace(0, 1, _MOST_LINES)[1:-1], method="nearest"))
    group = np.digitize(sizes, cuts, right=True)
    ranges = []
    for place in np.unique(group):
        members = np.flatnonzero(group == place)
        low, high = sizes[members].min(), sizes[members].max()
        name = _size(width, low) if low == high else f"{_size(width, low)}-{_size(width, high)}"
        ranges.append((name, members.tolist()))
    return ranges


def _size(width: SearchedParameter, value: float) -> str:
    return number(round(value) if all(isinstance(each, int) for each in width.values) else float(value))


def _draw_lines(axes: Axes, lines: Sequence[Line], width: SearchedParameter) -> None:
    shades = style.steps(len(lines))
    for (_, x, y), shade in zip(lines, shades, strict=True):
        axes.plot(x, y, color=shade, marker="o", ms=3.5)
    heights = style.spread([float(np.log(y[-1])) for _, _, y in lines], 0.055 * float(np.ptp(np.log(axes.get_ylim()))))
    right = max(x[-1] for _, x, _ in lines)
    for (name, _, _), shade, height in zip(lines, shades, heights, strict=True):
        style.end_label(axes, right, float(np.exp(height)), name, shade, fontweight="bold", annotation_clip=False)
    above: Any = {"textcoords": "offset points", "va": "bottom", "fontsize": 8, "color": style.QUIET}
    axes.annotate(width.words, (right, float(np.exp(max(heights)))), (5, 6), annotation_clip=False, **above)
    axes.margins(x=0.02)


def _mark_diverged(axes: Axes, table: TrialTable, x: SearchedParameter) -> None:
    """Mark the positions of diverged trials with crosses along the upper edge."""
    diverged = [trial for trial in table.ended(Ending.DIVERGED) if x.name in trial.point]
    if diverged:
        upper = axes.get_xaxis_transform()
        places = positions(x, diverged)
        axes.scatter(places, [0.985] * len(places), marker="x", s=18, color=style.DIVERGED, transform=upper, lw=1.1)
        axes.annotate(
            "diverged",
            (float(places.min()), 0.985),
            (-5, 0),
            textcoords="offset points",
            xycoords=upper,
            ha="right",
            va="center",
            color=style.DIVERGED,
            fontsize=8,
        )


def _rates_title(table: TrialTable, trials: Sequence[DrawnTrial], x: SearchedParameter) -> str:
    """Return a sentence: how many trials are good enough, and the range of `x` in the middle four fifths of them."""
    limit = _GOOD * table.heights(table.ranked[:1])[0]
    good = [trial for trial, error in zip(trials, table.heights(trials), strict=True) if error <= limit]
    if len(good) < 2:
        return f"One trial stands alone: no other has at most {_GOOD:g} times its error"
    low, high = (number(float(end)) for end in np.quantile(positions(x, good), [0.1, 0.9]))
    return (
        f"{len(good):,} of {len(table.trials):,} trials are good enough, most of them with {x.named} of {low} to {high}"
    )


def draw_epochs(table: TrialTable) -> Plot | Missing:
    """Plot the error after each epoch: of the best five trials, up to ten that diverged, and others behind them."""
    from matplotlib.ticker import MaxNLocator

    if not any(trial.curve for trial in table.trials):
        return Missing(EPOCHS, "no trial has finished an epoch")
    best = [trial for trial in table.ranked[:_BEST] if trial.curve]
    diverged = table.ended(Ending.DIVERGED)
    others = [trial for trial in table.trials if trial.curve and trial not in best and trial not in diverged]
    shown = [others[int(i)] for i in np.linspace(0, len(others) - 1, min(_OTHERS, len(others)))]
    figure, axes = style.axes(3.2)
    measure_axis(axes.yaxis, table)
    _draw_curves(axes, table, shown, style.PRUNED, alpha=0.35, lw=0.7, rasterized=True)
    _draw_curves(axes, table, best[1:], style.OK, alpha=0.9, lw=1.1)
    _draw_curves(axes, table, best[:1], style.BEST, lw=2.2)
    _draw_ends(axes, table, diverged[:_DIVERGED])
    if best:
        last = best[0].curve
        style.end_label(
            axes, len(last), max(last[-1], table.floor), f"trial {best[0].number}", style.BEST, fontweight="bold"
        )
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.margins(x=0.1)
    title = _epochs_title(table, best, len(diverged))
    text = f"the best {len(best)}, {counted(len(shown), 'other')} and {min(_DIVERGED, len(diverged))} diverged"
    alt = f"{table.measure} after each epoch for {text}. {title}."
    return Plot(EPOCHS, title, figure, alt, _epochs_notes(len(shown), len(others), len(diverged)))


def _draw_curves(axes: Axes, table: TrialTable, trials: Sequence[DrawnTrial], colour: str, **more: Any) -> None:
    for trial in trials:
        axes.plot(range(1, len(trial.curve) + 1), np.maximum(trial.curve, table.floor), color=colour, **more)


def _draw_ends(axes: Axes, table: TrialTable, diverged: Sequence[DrawnTrial]) -> None:
    """Draw the curves of diverged trials, each with a cross at its end.

    A trial without a finished epoch gets only a cross, at the top left.
    """
    _draw_curves(axes, table, diverged, style.DIVERGED, lw=1.0)
    top = axes.get_ylim()[1]
    ends = [(max(1, len(t.curve)), max(t.curve[-1], table.floor) if t.curve else top) for t in diverged]
    if ends:
        x, y = zip(*ends, strict=True)
        axes.scatter(x, y, marker="x", s=26, color=style.DIVERGED, lw=1.4, zorder=5, clip_on=False)
        style.end_label(axes, *max(ends), "diverged", style.DIVERGED)


def _epochs_title(table: TrialTable, best: Sequence[DrawnTrial], diverged: int) -> str:
    text = f"{diverged:,} of {counted(len(table.trials), 'trial')} diverged" if diverged else "no trial diverged"
    if not best:
        return f"No trial ended ok; {text}"
    near = 1.1 * max(best[0].curve[-1], table.floor)
    epoch = next(index for index, error in enumerate(best[0].curve, start=1) if error <= near)
    return f"The best trial came within a tenth of its last error by epoch {epoch} of {len(best[0].curve)}; {text}"


def _epochs_notes(shown: int, others: int, diverged: int) -> tuple[str, ...]:
    notes = []
    if others:
        notes.append(f"Behind the best {_BEST}: {shown:,} of {counted(others, 'other')}, evenly chosen by number.")
    if diverged > _DIVERGED:
        notes.append(f"The first {_DIVERGED} of {diverged:,} diverged trials are drawn.")
    return tuple(notes)
