"""The figure that the rule for promotion compares: test accuracy, or macro-F1 if the page's search is for macro-F1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from windrow.selection import statistics
from windrow.selection.metrics import macro_f1
from windrow.selection.readout import Readout
from windrow.selection.statistics import Interval, Labels

SIGNIFICANCE = 0.05
"""A lead in accuracy counts as more than luck if McNemar's p is below this value."""


@dataclass(frozen=True)
class Measure:
    """A figure of a network on test images, 0..1, the higher the better.

    Attributes:
        name: its name in sentences.
        guessing: what `baseline` is, in words.
        of: returns the figure.
        interval: returns its 95 % interval.
        baseline: returns what guessing reaches, from the true labels.
        luck: returns why the lead of the first network over the second may be luck; empty if it is more than luck.
    """

    name: str
    guessing: str
    of: Callable[[Readout], float]
    interval: Callable[[Readout], Interval]
    baseline: Callable[[Labels], float]
    luck: Callable[[Readout, Readout], str]


def measure_of(objective: str) -> Measure:
    """Return the figure that belongs to a page's objective, the validation metric that it searches for."""
    return MACRO_F1 if objective == "val_macro_f1" else ACCURACY


def _wilson(read: Readout) -> Interval:
    return statistics.wilson(read.images - read.errors, read.images)


def _luck_in_accuracy(first: Readout, second: Readout) -> str:
    p = statistics.mcnemar(first.hits, second.hits)
    return f"McNemar's p is {p:.2g}, not below {SIGNIFICANCE:g}" if p >= SIGNIFICANCE else ""


def _luck_in_macro_f1(first: Readout, second: Readout) -> str:
    lead = statistics.macro_f1_lead(first.truth, first.predicted, second.truth, second.predicted)
    between = f"{lead.low:.4f} to {lead.high:.4f}"
    return f"the lead's 95 % interval, {between}, is not above 0" if lead.low <= 0 else ""


ACCURACY = Measure(
    name="test accuracy",
    guessing="the share of the most frequent class",
    of=lambda read: read.accuracy,
    interval=_wilson,
    baseline=statistics.most_frequent_share,
    luck=_luck_in_accuracy,
)

MACRO_F1 = Measure(
    name="test macro-F1",
    guessing="which is 1 divided by the number of classes, the most that guessing has on average",
    of=macro_f1,
    interval=lambda read: statistics.macro_f1_interval(read.truth, read.predicted),
    baseline=statistics.guessed_macro_f1,
    luck=_luck_in_macro_f1,
)
