"""Plot when each trial ran, one row per slot, and the speed-up over a single slot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from windrow.atlas.plot import COLOURS, MANY, Missing, Plot, scale_axis
from windrow.atlas.table import DrawnTrial, TrialTable
from windrow.looks import style
from windrow.plural import counted
from windrow.sweep.outcomes import Ending

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TIMELINE, SPEED_UP = "timeline", "speed-up"

_LONG_PAUSE = 0.25  # pauses between sweeps that are longer than this share of the working time are cut out
_POINTS = 300  # points on the speed-up line


@dataclass(frozen=True)
class Bar:
    """A trial on the row of a slot; times are seconds since the first trial began, without long pauses."""

    trial: DrawnTrial
    slot: int
    begin: float
    end: float


def bars(table: TrialTable) -> tuple[list[Bar], list[float]]:
    """Return a bar for every trial whose times are known, and the times of the cuts, at which a pause was left out.

    A slot belongs to one worker from its first trial to its last; a new worker takes the first free slot.
    """
    trials = sorted((t for t in table.trials if t.began_at and t.ended_at > t.began_at), key=lambda t: t.began_at)
    clock, cuts = _working_time(trials)
    lives: dict[str, list[DrawnTrial]] = defaultdict(list)
    for trial in trials:
        lives[trial.worker].append(trial)
    found: list[Bar] = []
    free_at: list[float] = []
    for own in sorted(lives.values(), key=lambda own: own[0].began_at):
        slot = next((slot for slot, at in enumerate(free_at) if at <= own[0].began_at), len(free_at))
        free_at[slot : slot + 1] = [max(trial.ended_at for trial in own)]
        found += [Bar(trial, slot, clock(trial.began_at), clock(trial.ended_at)) for trial in own]
    return found, cuts


def _working_time(trials: Sequence[DrawnTrial]) -> tuple[Any, list[float]]:
    """Find the long pauses between sweeps, in which no trial ran.

    Returns:
        A function that converts Unix time to seconds since the first trial began, without the long pauses; and the
        seconds, counted in that way, at which each long pause was cut out.
    """
    busy: list[list[float]] = []
    for trial in trials:
        if busy and trial.began_at <= busy[-1][1]:
            busy[-1][1] = max(busy[-1][1], trial.ended_at)
        else:
            busy.append([trial.began_at, trial.ended_at])
    work = sum(end - begin for begin, end in busy)
    pauses = [(a[1], b[0]) for a, b in pairwise(busy) if b[0] - a[1] > _LONG_PAUSE * work]
    start = busy[0][0] if busy else 0.0

    def clock(at: float) -> float:
        return at - start - sum(end - begin for begin, end in pauses if end <= at)

    return clock, [clock(end) for _, end in pauses]


def draw_timeline(table: TrialTable, found: Sequence[Bar], cuts: Sequence[float]) -> Plot | Missing:
    """Plot one row per slot and one bar per trial, in the colour of the trial's ending."""
    if not found:
        return Missing(TIMELINE, "no trial's begin and end are known")
    slots = 1 + max(bar.slot for bar in found)
    figure, axes = style.axes(1.25 + min(4.0, 0.28 * slots))
    unit, per_unit = _unit(max(bar.end for bar in found))
    for ending in Ending:
        _draw_bars(axes, [bar for bar in found if bar.trial.ending is ending], ending, per_unit, len(found) > MANY)
    if table.best is not None:
        _draw_bars(axes, [bar for bar in found if bar.trial is table.best], None, per_unit, False)
    for cut in cuts:
        axes.axvline(cut / per_unit, color=style.INK, ls=":", lw=1)
    axes.set_ylim(slots - 0.4, -0.6)
    axes.set_yticks(
        range(0, slots, max(1, slots // 8)), [f"slot {slot + 1}" for slot in range(0, slots, max(1, slots // 8))]
    )
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{unit} since the first trial began")
    style.key(axes, 5)
    title = _timeline_title(found, slots)
    alt = f"Timeline of {counted(len(found), 'trial')} on {counted(slots, 'slot')}. {title}."
    return Plot(TIMELINE, title, figure, alt, _notes(table, found, cuts))


def _draw_bars(axes: Axes, own: Sequence[Bar], ending: Ending | None, per_unit: float, many: bool) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    if not own:
        return
    colour = style.BEST if ending is None else COLOURS.get(ending, style.OTHER)
    gap = 0.0 if many else 0.4
    patches = [Rectangle((bar.begin / per_unit, bar.slot - 0.4), (bar.end - bar.begin) / per_unit, 0.8) for bar in own]
    axes.add_collection(PatchCollection(patches, fc=colour, ec=style.PAPER, lw=gap, rasterized=many, alpha=0.9))
    axes.scatter(
        [], [], marker="s", color=colour, s=20, label="best" if ending is None else ending.value.replace("_", " ")
    )
    axes.autoscale_view()


def _unit(seconds: float) -> tuple[str, float]:
    return ("hours", 3600.0) if seconds > 2 * 3600 else ("minutes", 60.0) if seconds > 120 else ("seconds", 1.0)


def _timeline_title(found: Sequence[Bar], slots: int) -> str:
    span = max(bar.end for bar in found)
    unit, per_unit = _unit(span)
    share = float(_busy(found, np.linspace(0, span, _POINTS)).mean()) / slots
    text = f"{counted(len(found), 'trial')} on {counted(slots, 'slot')} in {span / per_unit:.3g} {unit}"
    return f"{text}, busy {100 * share:.0f} % of it"


def _busy(found: Sequence[Bar], at: Any) -> Any:
    """Return the number of busy slots at each of the times `at`."""
    working = np.zeros((1 + max(bar.slot for bar in found), len(at)), bool)
    for bar in found:
        working[bar.slot] |= (bar.begin <= at) & (at <= bar.end)
    return working.sum(0)


def _notes(table: TrialTable, found: Sequence[Bar], cuts: Sequence[float]) -> tuple[str, ...]:
    notes = []
    if len(found) < len(table.trials):
        unknown = "whose begin or end is not known"
        missing = counted(len(table.trials) - len(found), f"trial {unknown} is", f"trials {unknown} are")
        notes.append(f"{missing} left out.")
    if cuts:
        notes.append(f"A dotted line is a pause between two sweeps of the study, cut out ({len(cuts)}).")
    if len(found) > MANY:
        notes.append(f"{len(found):,} bars are drawn as one bitmap.")
    return tuple(notes)


def speed_ups(found: Sequence[Bar]) -> tuple[Any, Any]:
    """Return 300 times, and the speed-up up to each: training seconds of all trials, divided by wall-clock seconds.

    The times are seconds since the first trial began, without long pauses.
    """
    at = np.linspace(0, max(bar.end for bar in found), _POINTS + 1)[1:]
    done = np.zeros(_POINTS)
    for bar in found:
        done += bar.trial.seconds * np.clip((at - bar.begin) / (bar.end - bar.begin), 0, 1)
    return at, done / at


def draw_speed_up(found: Sequence[Bar]) -> Plot | Missing:
    """Plot the speed-up so far, compared with one slot, against time."""
    if not found:
        return Missing(SPEED_UP, "no trial's begin and end are known")
    at, speed_up = speed_ups(found)
    slots = 1 + max(bar.slot for bar in found)
    figure, axes = style.axes(2.5)
    unit, per_unit = _unit(at[-1])
    axes.plot(at / per_unit, speed_up, color=style.OK, lw=2)
    for height, words in {1: "one slot", slots: f"{counted(slots, 'slot')}, never idle"}.items():
        axes.axhline(height, color=style.QUIET, lw=1, ls="--")
        axes.annotate(
            words,
            (0.01, height),
            (0, 3),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="bottom",
            fontsize=8,
            color=style.QUIET,
        )
    style.end_label(axes, at[-1] / per_unit, speed_up[-1], f"{speed_up[-1]:.2f}", style.OK, fontweight="bold")
    axes.set_ylim(0, max(slots * 1.18, float(speed_up.max()) * 1.1))
    axes.margins(x=0.06)
    scale_axis(axes.yaxis, log=False)
    axes.set_xlabel(f"{unit} since the first trial began")
    axes.set_ylabel("speed-up")
    title = f"{counted(slots, 'slot')} trained {speed_up[-1]:.2f} times as fast as one that does nothing else"
    alt = f"Training seconds over wall clock, from the begin to each moment. {title}."
    return Plot(SPEED_UP, title, figure, alt, ("Training seconds of all trials over wall clock, from the begin on.",))
