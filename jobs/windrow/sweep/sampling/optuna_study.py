"""Use Optuna for a study: draw points, tell the sampler how trials ended, ask the pruner whether a trial should stop.

Points come first from the default configuration and the champion, then from the page's own list, then from the grid,
the design or the sampler. Optuna's journal must agree with the ledger; where they differ, the ledger is right.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.errors import StudyError
from windrow.experiment import Experiment
from windrow.experiment.sections import CHAMPION, LEARNERS
from windrow.plural import counted
from windrow.sweep.goals.front import cost_of
from windrow.sweep.outcomes import RULES, Outcome, Signal
from windrow.sweep.sampling import pruners, samplers, space
from windrow.sweep.sampling.earlier_study import earlier_trials
from windrow.sweep.sampling.first_points import Point, all_points, first_points, key_of
from windrow.sweep.sampling.journal import open_journal
from windrow.sweep.sampling.sensitivity_design import Design
from windrow.sweep.seeds import seed_of
from windrow.sweep.study_folder import JOURNAL

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial

_DRAWS = 500  # this many points in a row that break a constraint are an error
_LEARNED_DRAWS = 20  # after this many, a sampler that learns gives way to random draws
# Where this file goes beyond Optuna's public ask/tell API (as of 5.0.0): Study.ask, tell, add_trial and get_trials
# suffice except for reporting and pruning. Trial.report and Trial.should_prune are methods of a Trial, which only
# Study.ask returns. Of a trial that an earlier driver drew, and of a listed point, which is added without drawing, we
# have only the number. (Enqueueing a listed point and asking for it would run the sampler, and so change later points.)
# So `report` and `tell` write an epoch's value to the storage and call the pruner, as Trial does. The storage is
# opened in journal.py.


class OptunaStudy:
    """A study's sampler, pruner and journal.

    Args:
        folder: the study's folder; the caller holds its lock, so no other process writes the journal.
        page: the experiment.
        known: points of the trials in the ledger.
        champion: the champion's point if the study tries it, else None.
        prune_from: epoch, from 1, after which the pruner decides for the first time.
    """

    def __init__(
        self,
        folder: Path,
        page: Experiment,
        known: Iterable[Point] = (),
        champion: Point | None = None,
        prune_from: int = 1,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(logging.WARNING)
        self._page = page
        self._defaults = page.network.defaults()
        self._first = first_points(page, self._defaults, champion)
        self._not_asked = all_points(page, self._defaults)
        self._design = Design(page) if page.sweep.sampler == "sensitivity" else None
        for point in known:
            self._note(point)
        self._storage = open_journal(folder / JOURNAL)
        self._study = optuna.create_study(
            study_name=page.name,
            storage=self._storage,
            pruner=pruners.pruner(page.sweep, prune_from),
            directions=[page.sweep.direction, *(["minimize"] if page.sweep.cost else [])],
            load_if_exists=True,
        )
        self._study_id = self._storage.get_study_id_from_name(page.name)
        # With the first seed again, a resumed sampler would draw the first points again.
        self._study.sampler = self._own = self._sampler(len(self._trials()))
        self._learn_from_earlier_study()

    def try_first(self, champion: Point) -> None:
        """Put the champion's point after the default configuration; only before the first draw."""
        self._first = first_points(self._page, self._defaults, champion)

    @property
    def limit(self) -> int | None:
        """The number of points of a grid sweep; None for other samplers.

        The default configuration and the page's own points are counted, too.
        """
        return len(self._first) if self._page.sweep.sampler == "grid" else None

    @property
    def exhausted(self) -> bool:
        """True once every point of a small finite space has been drawn."""
        return self._not_asked == set()

    def draw(self, number: int) -> tuple[Point, int]:
        """Draw the point of a new trial, whose number is `number`; return it with the trial's number in Optuna.

        Raises:
            StudyError: the constraints exclude nearly the whole space.
        """
        listed = number - len(self._first)
        if listed < 0:
            point, optuna_number = self._fixed(self._first[number])
        elif self._design is not None:
            point, optuna_number = self._fixed(self._design.point(listed))
        else:
            point, optuna_number = self._sample(number)
        self._note(point)
        return point, optuna_number

    def _note(self, point: Point) -> None:
        if self._not_asked is not None:
            self._not_asked.discard(key_of(point))

    def _sample(self, number: int) -> tuple[Point, int]:
        for attempt in range(_DRAWS):
            self._study.sampler = self._sampler_of_draw(number, attempt)
            trial = self._study.ask()
            point = space.suggest(trial, self._page.space, self._defaults)
            if space.allowed(self._page.constraints, {**self._defaults, **point}):
                return point, int(trial.number)
            self._exclude(trial)
        raise StudyError(
            f"constraints must leave enough of the space; {_DRAWS} points in a row broke one of "
            f"{', '.join(map(str, self._page.constraints))}; loosen them, or narrow the ranges"
        )

    def _sampler_of_draw(self, number: int, attempt: int) -> BaseSampler:
        """Return the sampler for a trial's point after `attempt` points that broke a constraint."""
        if attempt >= _LEARNED_DRAWS and self._page.sweep.sampler in LEARNERS:
            # The best points lie next to excluded ones, and a sampler may draw these again and again.
            return samplers.random_sampler(seed_of(self._page.sweep.seed, number, attempt))
        # If deterministic, a new sampler per draw, with a seed from the trial's number, so that earlier draws have no
        # influence.
        return self._sampler(number, attempt) if self._page.sweep.deterministic else self._own

    def _exclude(self, trial: Trial) -> None:
        """Close a trial whose point breaks a constraint. A sampler that learns from results learns from it as well.

        But not in its start-up, which such trials would end before it knows enough results.
        """
        ended = sum(each.state in (_states().COMPLETE, _states().PRUNED) for each in self._trials())
        if self._page.sweep.sampler in LEARNERS and ended >= samplers.START_UP:
            trial.set_constraint("page", 1.0)
            self._study.tell(trial, state=_states().PRUNED)
        else:
            self._study.tell(trial, state=_states().FAIL)

    def orphans(self, known: set[int]) -> list[tuple[Point, int]]:
        """Return points that a killed driver drew but did not enter into the ledger, with their numbers in Optuna.

        Trials whose point is incomplete or breaks a constraint are closed as failed instead.
        """
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

    def report(self, optuna_number: int, epoch: int, value: float) -> bool:
        """Record the objective after an epoch (from 1); return True if the pruner wants the trial to stop.

        Without a pruner on the page, record nothing and return False. A default configuration outside the space is
        never pruned, because its trial in Optuna is already closed.
        """
        if self._page.sweep.pruner == "none":
            return False
        trial_id = self._trial_id(optuna_number)
        if self._storage.get_trial(trial_id).state.is_finished():
            return False
        self._storage.set_trial_intermediate_value(trial_id, epoch, value)
        return bool(self._study.pruner.prune(self._study, self._storage.get_trial(trial_id)))

    def tell(self, optuna_number: int, outcome: Outcome) -> None:
        """Tell the sampler how a trial ended, according to the rule for the ending; a second call does nothing."""
        trial_id = self._trial_id(optuna_number)
        # A driver may die before the ledger marks the trial as told: then this is called a second time.
        if self._storage.get_trial(trial_id).state.is_finished():
            return
        signal, objective = RULES[outcome.ending].signal, self._page.sweep.objective
        if self._page.sweep.cost is not None:
            self._tell_two_goals(optuna_number, outcome, signal)
            return
        if signal is Signal.VALUE:
            self._study.tell(optuna_number, outcome.value)
        elif signal is Signal.NOTHING:
            self._study.tell(optuna_number, state=_states().FAIL)
        else:
            # Optuna ranks pruned trials below those with a value: by their last report, and last without one.
            reported = outcome.epochs and math.isfinite(value := outcome.epochs[-1].metrics()[objective])
            if signal is Signal.SO_FAR and reported:
                self._storage.set_trial_intermediate_value(trial_id, len(outcome.epochs), value)
            self._study.tell(optuna_number, state=_states().PRUNED)

    def _tell_two_goals(self, optuna_number: int, outcome: Outcome, signal: Signal) -> None:
        """Tell the sampler value and cost; of a trial that stopped early, the value so far: it was dominated there.

        Optuna's samplers learn nothing from pruned trials of two goals, so a trial without both is told as failed.
        """
        cost = cost_of(outcome.epochs, self._page.sweep)
        value = self._worst() if signal is Signal.WORST else outcome.value
        if signal is Signal.SO_FAR and outcome.epochs:
            value = outcome.epochs[-1].metrics()[self._page.sweep.objective]
        if signal is not Signal.NOTHING and cost is not None and value is not None and math.isfinite(value):
            self._study.tell(optuna_number, [value, cost])
        else:
            self._study.tell(optuna_number, state=_states().FAIL)

    def _worst(self) -> float | None:
        """Return a value of the objective that no told one is worse than; of losses None before the first one."""
        if self._page.sweep.direction == "maximize":
            return 0.0
        told = [trial.values[0] for trial in self._trials() if trial.state is _states().COMPLETE]
        return max(told, default=None)

    def _fixed(self, point: Point) -> tuple[Point, int]:
        """Add a point that no sampler drew; return it with its number in Optuna.

        A point outside the space, as a default configuration may be, is hidden from the sampler.
        """
        from optuna.trial import create_trial

        inside = space.contains(self._page.space, point, self._defaults)
        known = space.distributions(self._page.space)
        trial = create_trial(
            state=_states().RUNNING if inside else _states().FAIL,
            params=point if inside else {},
            distributions={name: known[name] for name in point} if inside else {},
        )
        self._study.add_trial(trial)
        # add_trial returns nothing; no other process adds trials, so the last trial is the new one.
        return point, len(self._trials()) - 1

    def _learn_from_earlier_study(self) -> None:
        """Add to the journal the trials of the study in sweep.warm_start that ended ok and that this page allows.

        Trials outside the space, and those that break a constraint, are left out; their numbers are printed. This
        happens once: when a study is continued, its journal already has them.

        Raises:
            StudyError: the folder holds no study with this objective, or this page allows none of its trials.
        """
        if self._page.sweep.warm_start in (None, CHAMPION) or self._trials():
            return
        from optuna.trial import create_trial

        known = space.distributions(self._page.space)
        earlier = earlier_trials(Path(self._page.sweep.warm_start), self._page)
        inside = [(point, value) for point, value in earlier if space.contains(self._page.space, point, self._defaults)]
        found = [
            create_trial(value=value, params=point, distributions={name: known[name] for name in point})
            for point, value in inside
            if space.allowed(self._page.constraints, {**self._defaults, **point})
        ]
        outside, broken = len(earlier) - len(inside), len(inside) - len(found)
        counts = f"{outside:,} outside the space, {counted(broken, 'breaks', 'break')} a constraint"
        if not found:
            raise StudyError(
                f"sweep.warm_start must be a study with a compatible space; got {self._page.sweep.warm_start} with "
                f"{counted(len(earlier), 'trial')} that ended ok: {counts}; widen the space, loosen the constraints, "
                "or leave warm_start out"
            )
        print(
            f"the sampler learns from {len(found):,} of {counted(len(earlier), 'earlier trial')}: {counts}",
            file=sys.stderr,
        )
        self._study.add_trials(found)

    def _sampler(self, *parts: int) -> BaseSampler:
        return samplers.sampler(self._page.sweep, self._page.space, seed_of(self._page.sweep.seed, *parts))

    def _trials(self) -> list[FrozenTrial]:
        trials: list[FrozenTrial] = self._study.get_trials(deepcopy=False)
        return trials

    def _trial_id(self, optuna_number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._study_id, optuna_number))


def _states() -> Any:
    from optuna.trial import TrialState

    return TrialState
