"""Plot accuracy against cost (weights; seconds of training; milliseconds for an image), with the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from windrow.atlas.plot import Missing, Plot, bitmap_note, marks, scale_axis
from windrow.atlas.table import DrawnTrial, TrialTable, error_of
from windrow.looks import style
from windrow.plural import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WEIGHTS, SECONDS, MILLISECONDS = "accuracy-weights", "accuracy-seconds", "accuracy-milliseconds"

_QUALITIES = {"val_accuracy": "validation accuracy, %", "val_macro_f1": "validation macro-F1, %"}
_NEAR = 1.25  # errors up to this many times the least error count as nearly as good


def draw_weights(table: TrialTable) -> Plot | Missing:
    """Plot accuracy against the number of trainable weights."""
    if any(trial.weights is None for trial in table.ranked):
        return Missing(WEIGHTS, "weights are counted for built-in networks, with --dataset")
    label = "trainable weights" if table.backbone is None else "trainable weights, those of the head"
    return _draw(table, WEIGHTS, label, lambda trial: float(trial.weights or 0), lambda x: f"{x:,.0f} weights")


def draw_seconds(table: TrialTable) -> Plot | Missing:
    """Plot accuracy against the wall-clock time of training."""
    return _draw(table, SECONDS, "training time, seconds", lambda trial: trial.seconds, lambda x: f"{x:.3g} s")


def draw_milliseconds(table: TrialTable) -> Plot | Missing:
    """Plot accuracy against the time for an image, the second goal of the search."""

    def cost(trial: DrawnTrial) -> float:
        return trial.milliseconds or 0.0

    return _draw(table, MILLISECONDS, "time for an image, milliseconds", cost, lambda x: f"{x:.3g} ms")


def front(costs: Sequence[float], errors: Sequence[float]) -> list[int]:
    """Return the indices of the trials on the Pareto front, cheapest first.

    A trial is on the front if no other trial costs at most as much and has at most its error; of equal trials, the
    first is on the front.
    """
    found: list[int] = []
    for index in sorted(range(len(costs)), key=lambda each: (costs[each], errors[each])):
        if not found or errors[index] < errors[found[-1]]:
            found.append(index)
    return found


def _draw(
    table: TrialTable, name: str, label: str, cost: Callable[[DrawnTrial], float], shown: Callable[[float], str]
) -> Plot | Missing:
    trials = [trial for trial in table.ranked if cost(trial) > 0]
    if not trials:
        return Missing(name, "the Pareto front needs a trial that ended ok")
    costs, errors = [cost(trial) for trial in trials], table.heights(trials)
    best = front(costs, errors)
    figure, axes = style.axes(3.0)
    marks(axes, costs, errors)
    x, y = [costs[i] for i in best], [errors[i] for i in best]
    axes.step([*x, max(costs)], [*y, y[-1]], where="post", color=style.BEST, lw=1.4)
    axes.scatter(x, y, color=style.BEST, s=18, zorder=3)
    scale_axis(axes.xaxis, log=max(costs) > 4 * min(costs))
    axes.set_xlabel(label)
    _accuracy_axis(axes, table)
    _name_front(axes, y[-1])
    title = _title(table, trials, costs, best, shown)
    shares = f"{counted(len(trials), 'trial')}, {len(best)} on the Pareto front"
    alt = f"{_quality(table)} against {label} for {shares}. {title}."
    notes = ("Orange: the best for each price; nothing else is as cheap and as good.", *bitmap_note(len(trials)))
    return Plot(name, title, figure, alt, (*notes, *table.floor_note))


def _name_front(axes: Axes, best: float) -> None:
    """Write "Pareto front" above the front, where by definition there are no trials."""
    axes.margins(y=0.12)
    place: Any = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "va": "bottom"}
    axes.annotate("Pareto front", (0.02, best), (0, 2), color=style.BEST, fontweight="bold", **place)


def _quality(table: TrialTable) -> str:
    return _QUALITIES.get(table.page.sweep.objective, table.measure)


def _accuracy_axis(axes: Axes, table: TrialTable) -> None:
    """Put errors on an inverted log scale, on which the last tenths of a percent take most room.

    Label the scale with accuracies, or with losses if the objective is a loss.
    """
    from matplotlib.ticker import FuncFormatter

    scale_axis(axes.yaxis, log=True)
    axes.invert_yaxis()
    if table.is_share:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 - error:.10g}"))
    axes.set_ylabel(_quality(table))


def _title(
    table: TrialTable,
    trials: Sequence[DrawnTrial],
    costs: Sequence[float],
    best: Sequence[int],
    shown: Callable[[float], str],
) -> str:
    """Return a sentence about the cheapest trial that is nearly as good as the best, and about the best."""
    winner = best[-1]
    limit = _NEAR * max(error_of(trials[winner]), table.floor)
    cheap = next(index for index in best if max(error_of(trials[index]), table.floor) <= limit)
    least = f"{table.shown(error_of(trials[winner]))} error"
    if cheap == winner:
        return (
            f"The least error, {least.removesuffix(' error')}, took {shown(costs[winner])}; nothing cheaper comes near"
        )
    near = f"{shown(costs[cheap])} give {table.shown(error_of(trials[cheap]))} error"
    return f"{near}; the best, {least}, took {shown(costs[winner])}"
