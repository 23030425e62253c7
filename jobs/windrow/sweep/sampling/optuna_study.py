"""Optuna's part of a study: where points come from, what the sampler is told, when the pruner says stop.

Points come from, in this order: the default configuration, the page's own points, the grid, the design or the
sampler. Optuna's journal is one of the study's books; the ledger decides what is true.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.errors import StudyError
from windrow.experiment import Experiment, FloatDimension
from windrow.experiment.parameters import Value
from windrow.sweep.ledger import FILE, Ledger
from windrow.sweep.outcomes import RULES, Outcome, Signal
from windrow.sweep.sampling import samplers, space
from windrow.sweep.sampling.sensitivity_design import Design
from windrow.sweep.seeds import seed_of

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

_DRAWS = 500  # points in a row that may break a constraint
_REDUCTION = 4  # ASHA keeps the best quarter at epochs 1, 4, 16, ...; Ray Tune's default too
_WARM_UP_TRIALS = 5  # trials that the median is never asked about
_SMALL_SPACE = 1000  # points; of a larger space a sweep is not expected to try all
Point = dict[str, Value]


class Asking:
    """A study's sampler, pruner and journal. One process at a time: the study's lock sees to that."""

    def __init__(self, folder: Path, page: Experiment, asked: Iterable[Point] = ()) -> None:
        import optuna

        optuna.logging.set_verbosity(logging.WARNING)
        self._page = page
        self._defaults = page.network.defaults()
        self._first = _first_points(page, self._defaults)
        self._not_asked = _all_points(page, self._defaults)
        self._design = Design(page) if page.sweep.sampler == "sensitivity" else None
        for point in asked:
            self._note(point)
        self._storage = _open_storage(folder / "journal.log")
        self._study = optuna.create_study(
            study_name=page.name,
            storage=self._storage,
            sampler=self._sampler(0),
            pruner=_pruner(page.sweep.pruner),
            direction=page.sweep.direction,
            load_if_exists=True,
        )
        self._study_id = self._storage.get_study_id_from_name(page.name)
        if not self._page.sweep.deterministic:
            # A resumed sampler with the first seed would draw the first points again.
            self._study.sampler = self._sampler(len(self._trials()))
        self._learn_from_earlier_study()

    @property
    def most(self) -> int | None:
        """How many trials there are to ask for; None unless the points are those of a grid."""
        return len(self._first) if self._page.sweep.sampler == "grid" else None

    @property
    def exhausted(self) -> bool:
        """Whether every point of a small finite space has been asked for."""
        return self._not_asked == set()

    def draw(self, number: int) -> tuple[Point, int]:
        """The point of a new trial, and the number that Optuna knows it by.

        Raises:
            StudyError: the constraints leave next to nothing of the space.
        """
        listed = number - len(self._first)
        if listed < 0:
            point, asked_as = self._fixed(self._first[number])
        elif self._design is not None:
            point, asked_as = self._fixed(self._design.point(listed))
        else:
            point, asked_as = self._sample(number)
        self._note(point)
        return point, asked_as

    def _note(self, point: Point) -> None:
        if self._not_asked is not None:
            self._not_asked.discard(_key(point))

    def _sample(self, number: int) -> tuple[Point, int]:
        for attempt in range(_DRAWS):
            if self._page.sweep.deterministic:
                self._study.sampler = self._sampler(number, attempt)
            trial = self._study.ask()
            point = space.suggest(trial, self._page.space, self._defaults)
            if space.allowed(self._page.constraints, {**self._defaults, **point}):
                return point, int(trial.number)
            self._study.tell(trial.number, state=_states().FAIL)
        raise StudyError(
            f"constraints must leave enough of the space; {_DRAWS} points in a row broke one of "
            f"{', '.join(map(str, self._page.constraints))}; loosen them, or narrow the ranges"
        )

    def orphans(self, known: set[int]) -> list[tuple[Point, int]]:
        """Points that a killed driver drew and did not write into the ledger. Half-drawn ones are closed."""
        found = []
        for trial in self._trials():
            if trial.state.name == "RUNNING" and trial.number not in known:
                point = dict(trial.params)
                whole = space.complete(self._page.space, point, self._defaults)
                if whole and space.allowed(self._page.constraints, {**self._defaults, **point}):
                    self._note(point)
                    found.append((point, trial.number))
                else:
                    self._study.tell(trial.number, state=_states().FAIL)
        return found

    def report(self, asked_as: int, epoch: int, value: float) -> bool:
        """Keep the objective after an epoch (from 1); whether the pruner says to stop.

        The default configuration outside the space is nothing that Optuna compares: it trains to its end.
        """
        if self._page.sweep.pruner == "none":
            return False
        trial_id = self._trial_id(asked_as)
        if self._storage.get_trial(trial_id).state.is_finished():
            return False
        self._storage.set_trial_intermediate_value(trial_id, epoch, value)
        return bool(self._study.pruner.prune(self._study, self._storage.get_trial(trial_id)))

    def tell(self, asked_as: int, outcome: Outcome, objective: str) -> None:
        """Tell the sampler how a trial ended, as the rule of its ending says. Saying it twice changes nothing."""
        trial = self._storage.get_trial(self._trial_id(asked_as))
        if trial.state.is_finished():
            return
        signal = RULES[outcome.ending].signal
        if signal is Signal.VALUE:
            self._study.tell(asked_as, outcome.value)
        elif signal is Signal.NOTHING:
            self._study.tell(asked_as, state=_states().FAIL)
        else:
            # Optuna's PRUNED is worse than any value; among pruned ones the last report counts, and none is the worst.
            reported = outcome.epochs and math.isfinite(value := outcome.epochs[-1].metrics()[objective])
            if signal is Signal.SO_FAR and reported:
                self._storage.set_trial_intermediate_value(trial._trial_id, len(outcome.epochs), value)
            self._study.tell(asked_as, state=_states().PRUNED)

    def _fixed(self, point: Point) -> tuple[Point, int]:
        """Enter a point that no sampler drew. One outside the space, as the default may be, teaches it nothing."""
        from optuna.trial import create_trial

        inside = space.contains(self._page.space, point, self._defaults)
        known = space.distributions(self._page.space)
        trial = create_trial(
            state=_states().RUNNING if inside else _states().FAIL,
            params=point if inside else {},
            distributions={name: known[name] for name in point} if inside else {},
        )
        self._study.add_trial(trial)
        return point, len(self._trials()) - 1

    def _learn_from_earlier_study(self) -> None:
        """Show the sampler the good trials of an earlier study whose points lie in this space; once."""
        if self._page.sweep.warm_start is None or self._trials():
            return
        from optuna.trial import create_trial

        known = space.distributions(self._page.space)
        found = []
        for point, value in earlier_trials(Path(self._page.sweep.warm_start), self._page):
            if space.contains(self._page.space, point, self._defaults):
                distributions = {name: known[name] for name in point}
                found.append(create_trial(value=value, params=point, distributions=distributions))
        if not found:
            raise StudyError(
                f"sweep.warm_start must be a study with a compatible space; no point of {self._page.sweep.warm_start} "
                "lies in this one; widen the space, or leave warm_start out"
            )
        self._study.add_trials(found)

    def _sampler(self, *parts: int) -> Any:
        return samplers.sampler(self._page.sweep, self._page.space, seed_of(self._page.sweep.seed, *parts))

    def _trials(self) -> list[FrozenTrial]:
        trials: list[FrozenTrial] = self._study.get_trials(deepcopy=False)
        return trials

    def _trial_id(self, asked_as: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._study_id, asked_as))


def earlier_trials(folder: Path, page: Experiment) -> list[tuple[Point, float]]:
    """Points and values of the trials that ended ok in the study in `folder`.

    Raises:
        StudyError: no study is there, or it searched for another objective.
    """
    if not (folder / FILE).is_file():
        raise StudyError(f"sweep.warm_start must be the folder of a study; got {folder}; name the --study of a sweep")
    objective = json.loads((folder / "study.json").read_text(encoding="utf-8")).get("objective")
    if objective != page.sweep.objective:
        raise StudyError(
            f"sweep.warm_start must be a study with the same objective, {page.sweep.objective}; {folder} has "
            f"{objective}; change sweep.objective, or leave warm_start out"
        )
    ledger = Ledger(folder, reading=True)
    try:
        outcomes = [(entry.point, entry.outcome) for entry in ledger.entries()]
    finally:
        ledger.close()
    return [(point, outcome.value) for point, outcome in outcomes if outcome and outcome.value is not None]


def _first_points(page: Experiment, defaults: Mapping[str, Value]) -> list[Point]:
    """The default configuration where the page gives one, the page's own points, and the grid; each once."""
    points = [space.filled(page.space, point, defaults) for point in ({}, *page.sweep.points)]
    points = [point for point in points if space.complete(page.space, point, defaults)]
    if page.sweep.sampler == "grid":
        points += space.grid(page.space, page.constraints, defaults, page.sweep.seed)
    return list({_key(point): point for point in points}.values())


def _all_points(page: Experiment, defaults: Mapping[str, Value]) -> set[tuple[tuple[str, Value], ...]] | None:
    """Every point of a small finite space; None where there is no end of them."""
    if page.sweep.sampler == "sensitivity":
        return None  # its points are asked again, with other seeds
    if any(isinstance(dimension, FloatDimension) and not dimension.step for dimension in page.space.values()):
        return None
    if math.prod(space.count(dimension) for dimension in page.space.values()) > _SMALL_SPACE:
        return None
    return {_key(point) for point in space.grid(page.space, page.constraints, defaults)}


def _key(point: Point) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(point.items()))


def _pruner(name: str) -> BasePruner:
    from optuna import pruners

    if name == "asha":
        return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=_REDUCTION)
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=_WARM_UP_TRIALS)
    return pruners.NopPruner()


def _open_storage(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    class HeldByTheStudy(JournalFileOpenLock):  # type: ignore[misc]
        """Optuna's own lock outlives a killed holder, and the next one waits half a minute for it."""

        def acquire(self) -> bool:
            return True

        def release(self) -> None:
            pass

    _drop_torn_line(path)
    return JournalStorage(JournalFileBackend(str(path), HeldByTheStudy(str(path))))


def _drop_torn_line(path: Path) -> None:
    """A full disk can cut the journal's last line short; the next one would be glued to it."""
    if path.is_file() and not (content := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _states() -> Any:
    from optuna.trial import TrialState

    return TrialState
