"""Define the result of a plot (a picture, or why it is absent), and draw axes and marks that plots share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from windrow.atlas.table import DrawnTrial, SearchedParameter, TrialTable
from windrow.experiment.parameters import Value
from windrow.looks import style
from windrow.looks.numbers import two_digits
from windrow.sweep.outcomes import Ending

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MANY = 400
"""A plot with more marks than this draws them as one bitmap, because thousands of shapes would make the page slow."""

_GAP = 2
"""The least pixels between two labels at ticks."""

COLOURS = {Ending.OK: style.OK, Ending.PRUNED: style.PRUNED, Ending.DIVERGED: style.DIVERGED}


@dataclass(frozen=True)
class Plot:
    """A picture.

    Attributes:
        name: names the PNG file and the anchor on the HTML page.
        title: what the picture shows, as a sentence.
        alt: a description for readers who can't see the picture.
        notes: sentences about how the picture was drawn.
    """

    name: str
    title: str
    figure: Figure
    alt: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Missing:
    """A picture that can't be drawn for this study, and the reason."""

    name: str
    reason: str


def number(value: Value) -> str:
    """Return a value as text for display: 0.0031, 12,000, relu."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return two_digits(value) if isinstance(value, float) else value


def measure_axis(axis: Axis, table: TrialTable) -> None:
    """Make an axis the log axis of errors, with its label."""
    scale_axis(axis, log=True)
    axis.set_label_text(table.measure)


def scale_axis(axis: Axis, log: bool) -> None:
    """Give an axis a log or linear scale with only a few, plainly written numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    class FewLocator(LogLocator):
        """Place ticks at powers of ten; on an axis with few of these, also at 3 times, or at 2, 3 and 5 times each."""

        def tick_values(self, low: float, high: float) -> Any:
            decades = np.log10(high / low) if 0 < low < high else 1.0
            self.set_params(subs=(1.0,) if decades > 2.5 else (1.0, 3.0) if decades > 1.2 else (1.0, 2.0, 3.0, 5.0))
            return super().tick_values(low, high)

    if not log:
        axis.set_major_locator(MaxNLocator(5))
        return
    axis.axes.set(**{f"{_letter(axis)}scale": "log"})
    axis.set_major_locator(FewLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}" if value >= 1e-4 else f"{value:.0e}"))
    axis.set_minor_formatter(NullFormatter())


def limit_axis(axis: Axis, low: float, high: float) -> None:
    """Set the ends of an axis."""
    axis.axes.set(**{f"{_letter(axis)}lim": (low, high)})


def _letter(axis: Axis) -> str:
    return str(axis.axis_name)  # type: ignore[attr-defined]


def positions(parameter: SearchedParameter, trials: Sequence[DrawnTrial]) -> Any:
    """Return trials' places on a parameter's axis, float (n,): values, or indices of choices; NaN if not searched."""
    places = {value: place for place, value in enumerate(parameter.values)}
    found = [trial.point.get(parameter.name) for trial in trials]
    return np.array([np.nan if v is None else float(v) if parameter.numeric else places[v] for v in found], float)


def parameter_axis(axis: Axis, parameter: SearchedParameter) -> None:
    """Set the scale, the ticks and the name of a parameter's axis."""
    if parameter.numeric:
        scale_axis(axis, parameter.log)
        if len(parameter.values) <= 4:
            axis.set_ticks([float(value) for value in parameter.values], list(map(number, parameter.values)))
            axis.set_ticks([], minor=True)
    else:
        axis.set_ticks(range(len(parameter.values)), [number(value)[:12] for value in parameter.values])
    axis.set_label_text(parameter.words)


def untangle(figure: Figure) -> None:
    """Where tick labels would overlap, rotate the names on an x axis; leave out numbers, and names on a y axis."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        for axis, side in ((axes.xaxis, 0), (axes.yaxis, 1)):
            _untangle(axis, side)


def _untangle(axis: Axis, side: int) -> None:
    low, high = sorted(axis.get_view_interval())
    ticks = [(float(tick.get_loc()), tick.label1) for tick in axis.get_major_ticks()]
    shown = [(at, label) for at, label in ticks if low <= at <= high and label.get_visible() and label.get_text()]
    kept, end = [], -np.inf
    for at, label in sorted(shown, key=lambda pair: pair[1].get_window_extent().min[side]):
        box = label.get_window_extent()
        if box.min[side] >= end + _GAP:
            kept.append(at)
            end = box.max[side]
    if len(kept) == len(shown):
        return
    if side == 0 and any(label.get_text()[0].isalpha() for _, label in shown):
        for _, label in shown:
            label.set(rotation=40, ha="right", rotation_mode="anchor")
    else:
        axis.set_ticks([at for at, _ in shown], [label.get_text() if at in kept else "" for at, label in shown])


def marks(axes: Axes, x: Any, y: Any, colour: str = style.OK, **more: Any) -> None:
    """Draw dots; more than MANY are drawn smaller, fainter and as one bitmap."""
    many = len(x) > MANY
    more = {"s": 7 if many else 16, "alpha": 0.35 if many else 0.7, "linewidths": 0, **more}
    axes.scatter(x, y, color=colour, rasterized=many, **more)


def bitmap_note(count: int) -> tuple[str, ...]:
    """Return the note for a plot whose marks are drawn as one bitmap; empty for a plot with at most MANY marks."""
    return (f"{count:,} marks are drawn as one bitmap.",) if count > MANY else ()
