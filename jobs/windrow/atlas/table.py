"""Read the data that the atlas draws: the ledger's trials, and the hyper-parameters that differ among them.

The atlas judges every trial by an error, so that less is always better: 100 % minus the validation accuracy or
macro-F1, or the validation loss. The search never sees the test split, and neither does the atlas.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from windrow.experiment import OBJECTIVE_DIRECTIONS, CategoricalDimension, Dimension, Experiment, FloatDimension
from windrow.experiment.parameters import Value
from windrow.model.backbone import Backbone
from windrow.model.form import Shape
from windrow.plural import counted
from windrow.sweep.goals.front import cost_of
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.sampling.space import filled
from windrow.training.networks import count_weights

if TYPE_CHECKING:
    from windrow.sweep.study import StudyRecord

WIDTHS = ("filters", "units", "width", "neurons", "channels")
"""Hyper-parameters for a network's width; the first that differs among trials is drawn against the learning rate."""

_MEASURES = {
    "val_accuracy": "validation error, %",
    "val_macro_f1": "validation macro-F1 error, %",
    "val_loss": "validation loss, nats",
}
_LOG_RATIO = 4  # integers and choices that span more than this factor are drawn on a log axis


@dataclass(frozen=True)
class SearchedParameter:
    """A hyper-parameter that differs among the trials.

    Attributes:
        values: the distinct values in the trials: numbers from low to high, others as on the experiment page.
        numeric: whether all values are numbers; true and false don't count as numbers.
        log: whether the parameter is drawn on a log axis.
        conditional: whether some trials did not search the parameter.
    """

    name: str
    values: tuple[Value, ...]
    numeric: bool
    log: bool
    conditional: bool

    @property
    def named(self) -> str:
        """Return the name for use inside a sentence, with an article unless it ends with s: a learning rate; units."""
        return self.words if self.words.endswith("s") else f"a {self.words}"

    @property
    def words(self) -> str:
        """Return the name in plain words: learning rate."""
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class DrawnTrial:
    """A trial that has ended for good.

    Attributes:
        point: the value of each searched hyper-parameter that applies to this trial; the default where the trial's own
            point has none.
        error: the trial's value as an error, in percent or as a loss; None unless the ending is ok.
        curve: error after each epoch; for a diverged trial, up to the epoch before its first loss that was not finite.
        seconds: wall-clock time of training.
        weights: number of trainable weights, on a backbone those of the head; None if the search did not measure it and
            the network is a user's, or `read` got no `image`.
        began_at, ended_at: Unix time in seconds; 0 if not known.
        worker: host and process that trained, as host/pid.
        milliseconds: time for an image (sweep.goals.measured_cost); None unless it is a goal of the search.
    """

    number: int
    point: dict[str, Value]
    ending: Ending
    error: float | None
    curve: tuple[float, ...]
    seconds: float
    weights: int | None
    began_at: float
    ended_at: float
    worker: str
    milliseconds: float | None = None


@dataclass(frozen=True)
class TrialTable:
    """The trials of a study that have ended, and what differs among them.

    Attributes:
        parameters: hyper-parameters of the space that differ among the trials.
        constant: names of the space's other hyper-parameters.
        waiting: number of trials in the ledger that have not ended.
        guessing: validation error of guessing the most frequent class, in percent; None if it is not known.
        image: (height, width, channels) of an image; None if `read` got no `image`.
        backbone: the backbone that the trials' heads learn from; None without one, or if it is not known.
    """

    page: Experiment
    trials: tuple[DrawnTrial, ...]
    parameters: tuple[SearchedParameter, ...]
    constant: tuple[str, ...]
    waiting: int
    guessing: float | None = None
    image: Shape | None = None
    backbone: Backbone | None = None

    @property
    def is_share(self) -> bool:
        """Return True if errors are percentages, False if errors are losses in nats."""
        return self.page.sweep.direction == "maximize"

    @property
    def measure(self) -> str:
        """Return the label of an axis of errors."""
        return _MEASURES[self.page.sweep.objective]

    def shown(self, error: float) -> str:
        """Return an error as text for display: 1.39 %; without the unit if the objective is a loss."""
        return f"{error:.3g} %" if self.is_share else f"{error:.3g}"

    @property
    def endings(self) -> Counter[Ending]:
        """Return the number of trials by ending."""
        return Counter(trial.ending for trial in self.trials)

    @cached_property
    def ranked(self) -> tuple[DrawnTrial, ...]:
        """Return the trials that ended ok, best first; trials with equal errors by number."""
        return tuple(sorted(self.ended(Ending.OK), key=lambda trial: (error_of(trial), trial.number)))

    @property
    def best(self) -> DrawnTrial | None:
        """Return the trial with the least error; None if no trial ended ok."""
        return self.ranked[0] if self.ranked else None

    def ended(self, *endings: Ending) -> list[DrawnTrial]:
        """Return the trials with one of these endings, by number."""
        return [trial for trial in self.trials if trial.ending in endings]

    @cached_property
    def floor(self) -> float:
        """Return the least error to draw: half the least error above zero.

        A log axis has no zero, but a small validation split can give zero errors.
        """
        positive = [error for trial in self.ranked if (error := error_of(trial)) > 0]
        return min(positive) / 2 if positive else 0.01

    def heights(self, trials: Iterable[DrawnTrial]) -> list[float]:
        """Return the errors of trials as they are drawn: at least `floor`."""
        return [max(error_of(trial), self.floor) for trial in trials]

    @property
    def floor_note(self) -> tuple[str, ...]:
        """Return the note that trials without any error are drawn at `floor`; empty if there is no such trial."""
        zeros = sum(error_of(trial) == 0 for trial in self.ranked)
        which = counted(zeros, "trial without any error is", "trials without any error are")
        return (f"{which} drawn at {self.shown(self.floor)}.",) if zeros else ()

    def parameter(self, name: str) -> SearchedParameter | None:
        """Return the hyper-parameter of that name; None if it does not differ among the trials."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)


def error_of(trial: DrawnTrial) -> float:
    """Return the error of a trial; infinity unless the trial ended ok."""
    return math.inf if trial.error is None else trial.error


def read(
    study: StudyRecord,
    image: tuple[Shape, int] | None = None,
    baseline: float | None = None,
    backbone: Backbone | None = None,
) -> TrialTable:
    """Return the table of a study, from its ledger.

    Args:
        image: (shape, number of classes) of what the trials learn from, for counting weights: of images, or of a
            backbone's features; None leaves the weights out.
        baseline: share of the most frequent class in the validation split; None leaves the error of guessing out.
        backbone: the backbone whose features they are; None without one.
    """
    page = study.page
    entries = study.entries()
    trials = tuple(_trial(page, entry.point, entry.outcome, image) for entry in entries if entry.outcome is not None)
    described = {name: _describe(name, page.space[name], trials) for name in page.space}
    differing = tuple(parameter for parameter in described.values() if len(parameter.values) > 1)
    constant = tuple(name for name, parameter in described.items() if len(parameter.values) < 2)
    guessing = None if baseline is None else 100 * (1 - baseline)
    shape = backbone.shape if backbone else image[0] if image else None
    return TrialTable(page, trials, differing, constant, len(entries) - len(trials), guessing, shape, backbone)


def _trial(page: Experiment, point: dict[str, Value], outcome: Outcome, image: tuple[Shape, int] | None) -> DrawnTrial:
    defaults = page.network.defaults()
    counted = count_weights(page.network.builder, {**defaults, **point}, *image) if image else None
    cost = cost_of(outcome.epochs, page.sweep)
    if page.sweep.cost == "weights" and cost is not None:
        counted = int(cost)
    objective = page.sweep.objective
    curve = [_error(objective, epoch.metrics()[objective]) for epoch in outcome.epochs]
    finite = next((index for index, epoch in enumerate(outcome.epochs) if not epoch.finite), len(curve))
    return DrawnTrial(
        number=outcome.number,
        point=filled(page.space, point, defaults),
        ending=outcome.ending,
        error=None if outcome.value is None else _error(objective, outcome.value),
        curve=tuple(curve[:finite]),
        seconds=outcome.seconds,
        weights=counted,
        began_at=outcome.began_at,
        ended_at=outcome.ended_at,
        worker=outcome.worker,
        milliseconds=cost if page.sweep.cost == "milliseconds" else None,
    )


def _error(objective: str, value: float) -> float:
    # Round, because floating-point error in 1 - value would make equal shares of images differ.
    return round(100 * (1 - value), 9) if OBJECTIVE_DIRECTIONS[objective] == "maximize" else value


def _describe(name: str, dimension: Dimension, trials: Sequence[DrawnTrial]) -> SearchedParameter:
    seen = {trial.point[name] for trial in trials if name in trial.point}
    choices = dimension.choices if isinstance(dimension, CategoricalDimension) else ()
    numeric = not any(isinstance(value, bool | str) for value in (*choices, *seen))
    values = (
        sorted(seen, key=float) if numeric else [value for value in dict.fromkeys((*choices, *seen)) if value in seen]
    )
    return SearchedParameter(
        name, tuple(values), numeric, numeric and _is_log(dimension, values), any(name not in t.point for t in trials)
    )


def _is_log(dimension: Dimension, values: Sequence[Value]) -> bool:
    """Return whether to draw a dimension on a log axis; never if a value is 0 or less.

    A float is drawn as it was searched. Integers and choices also get a log axis if they span more than a factor of 4.
    """
    if not values or float(values[0]) <= 0:
        return False
    if isinstance(dimension, FloatDimension):
        return dimension.log
    grown = float(values[-1]) / float(values[0]) > _LOG_RATIO
    return grown or (not isinstance(dimension, CategoricalDimension) and dimension.log)
