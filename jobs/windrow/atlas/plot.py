"""The result of a plot, a picture with its sentence or the reason for its absence, and the marks that plots share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from windrow.atlas.table import DrawnTrial, SearchedParameter, TrialTable
from windrow.experiment.parameters import Value
from windrow.looks import style
from windrow.sweep.outcomes import Ending

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MANY = 400
"""Marks beyond which they are drawn as one bitmap: thousands of shapes would make the page slow."""

COLOURS = {Ending.OK: style.OK, Ending.PRUNED: style.PRUNED, Ending.DIVERGED: style.DIVERGED}


@dataclass(frozen=True)
class Plot:
    """A picture.

    Attributes:
        name: of its PNG file, and its anchor on the page.
        title: what it shows, as a sentence.
        alt: what is seen, for people who do not see it.
        notes: sentences about how it was drawn.
    """

    name: str
    title: str
    figure: Figure
    alt: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Missing:
    """A picture that this study does not give, and why."""

    name: str
    reason: str


def number(value: Value) -> str:
    """A value for people: 0.0031, 12,000, relu."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2g}" if isinstance(value, float) else value


def measure_axis(axis: Axis, table: TrialTable) -> None:
    """A log axis of errors."""
    scale_axis(axis, log=True)
    axis.set_label_text(table.measure)


def scale_axis(axis: Axis, log: bool) -> None:
    """A log or linear scale with few, plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    class FewLocator(LogLocator):
        """Powers of ten, and 3 or 2 and 5 between them where there are few."""

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
    """The ends of an axis."""
    axis.axes.set(**{f"{_letter(axis)}lim": (low, high)})


def _letter(axis: Axis) -> str:
    return str(axis.axis_name)  # type: ignore[attr-defined]


def positions(parameter: SearchedParameter, trials: Sequence[DrawnTrial]) -> Any:
    """Return trials' positions on a parameter's axis: numbers, or indices of choices; NaN where it is not searched."""
    places = {value: place for place, value in enumerate(parameter.values)}
    found = [trial.point.get(parameter.name) for trial in trials]
    return np.array([np.nan if v is None else float(v) if parameter.numeric else places[v] for v in found], float)


def parameter_axis(axis: Axis, parameter: SearchedParameter) -> None:
    """Ticks and name of a parameter's axis."""
    if parameter.numeric:
        scale_axis(axis, parameter.log)
        if len(parameter.values) <= 4:
            axis.set_ticks([float(value) for value in parameter.values], list(map(number, parameter.values)))
            axis.set_ticks([], minor=True)
    else:
        axis.set_ticks(range(len(parameter.values)), [number(value)[:12] for value in parameter.values])
    axis.set_label_text(parameter.words)


def marks(axes: Axes, x: Any, y: Any, colour: str = style.OK, **more: Any) -> None:
    """Dots, fainter and as a bitmap where there are many."""
    many = len(x) > MANY
    more = {"s": 7 if many else 16, "alpha": 0.35 if many else 0.7, "linewidths": 0, **more}
    axes.scatter(x, y, color=colour, rasterized=many, **more)


def bitmap_note(count: int) -> tuple[str, ...]:
    """Said under a plot whose marks are one bitmap."""
    return (f"{count:,} marks are drawn as one bitmap.",) if count > MANY else ()
