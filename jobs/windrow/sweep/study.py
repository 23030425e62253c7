"""Open and continue a study: one search over one space, in its own folder, that survives restarts.

    with open_study(folder, page, dataset_digest, network_source) as study:
        lease = study.ask()            # None: nothing to train now, or ever again if no trial is running
        entry = study.settle(outcome)  # the trial, or None if the outcome does not count

The folder holds the ledger (ledger.db), Optuna's journal (journal.log), the study's identity (study.json), and a lock
that one sweep at a time can hold.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from windrow.errors import BuilderError
from windrow.experiment import Experiment
from windrow.sweep import study_folder
from windrow.sweep.goals import front
from windrow.sweep.goals.rungs import Rungs
from windrow.sweep.ledger import Entry, Lease, Ledger
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.sampling.champion_point import ChampionPoint, ChampionRecord, champion_point
from windrow.sweep.sampling.optuna_study import OptunaStudy
from windrow.training.loop import Epoch


class StudyRecord:
    """A study's results so far.

    Attributes:
        endings: trials that have ended for good, by ending.
        best: the best trial that ended ok; None before the first one.
    """

    def __init__(self, folder: Path, page: Experiment, identity: dict[str, str], reading: bool = True) -> None:
        self.folder = folder
        self.page = page
        self.identity = identity
        self.ledger = Ledger(folder, reading)
        self.endings: Counter[Ending] = Counter()
        self.best: Entry | None = None
        for trial in self.finished():
            self._count(trial)

    @property
    def id(self) -> str:
        """The study's id. The same name, search settings, network and data set give the same id."""
        return self.identity["id"]

    @property
    def champion(self) -> ChampionPoint | None:
        """What the study does with the champion of its beginning; None if it does not consider a champion."""
        record = self.identity.get("champion")
        return None if record is None else ChampionPoint.of(record)

    def entries(self) -> list[Entry]:
        """Return every trial, in order of number."""
        return self.ledger.entries()

    def finished(self) -> list[Entry]:
        """Return the trials that have ended for good, in order of number; each has an outcome."""
        return [entry for entry in self.entries() if entry.outcome is not None]

    def ranked(self) -> list[Entry]:
        """Return the trials that ended ok, best first; trials with equal values by number."""
        return sorted((trial for trial in self.finished() if trial.value is not None), key=self._rank)

    def front(self) -> list[Entry]:
        """Return the trials that ended ok and that no other dominates in two goals, the best value first."""
        return front.front(self.finished(), self.page.sweep)

    def _rank(self, trial: Entry) -> tuple[float, int]:
        sign = -1 if self.page.sweep.direction == "maximize" else 1
        return sign * (trial.value or 0.0), trial.number

    def _count(self, trial: Entry) -> None:
        if trial.ending is not None:
            self.endings[trial.ending] += 1
        if trial.value is not None and (self.best is None or self._rank(trial) < self._rank(self.best)):
            self.best = trial


class Study(StudyRecord):
    """A study that can be continued. It draws points and records outcomes; both are in the ledger when a call returns.

    A driver may die between any two writes. Their order lets the next driver find what is missing: a point is written
    to Optuna's journal before the ledger, and an outcome to the ledger before the journal.

    Raises:
        ServiceError: from any call that writes to the ledger, if the disk is full or can't be written.
    """

    def __init__(self, folder: Path, page: Experiment, identity: dict[str, str]) -> None:
        super().__init__(folder, page, identity, reading=False)
        points = [entry.point for entry in self.entries()]
        champion = None if self.champion is None else self.champion.point
        # Older studies have no prune_from: their pruner decided from the first epoch on, and goes on so.
        self._prune_from = int(identity.get("prune_from", 1))
        self._optuna = OptunaStudy(folder, page, points, champion, self._prune_from)
        # Enter points that a killed driver drew but did not enter: the ledger must agree with the sampler's state.
        for point, optuna_number in self._optuna.orphans({entry.optuna_number for entry in self.entries()}):
            self.ledger.enter(point, optuna_number)
        self._rungs = self._known_rungs()
        self._open = {entry.number for entry in self.entries() if entry.outcome is None}
        self._untold = {entry.number for entry in self.entries() if not entry.told}
        self._waiting = sorted(self._open)  # workers of an earlier driver can no longer report: train these again
        self._tell_due()

    def remember(self, **facts: str) -> None:
        """Record facts about the study, such as its MLflow run, in study.json."""
        self.identity.update(facts)
        study_folder.write_identity(self.folder, self.identity)

    @property
    def wants_champion(self) -> bool:
        """Whether the study has not begun and is to try the champion's point, which it does not know yet."""
        return self.page.sweep.tries_champion and self.champion is None and not len(self.ledger)

    def try_champion(self, champion: ChampionRecord) -> None:
        """Put the champion's point after the default configuration, and record that in study.json.

        If the page can't try it, only the reason is recorded. It is printed either way.
        """
        tried = champion_point(self.page, champion)
        print(tried.text, file=sys.stderr)
        if tried.point is not None:
            self._optuna.try_first(tried.point)
        self.remember(champion=tried.to_json(), trials=str(self.budget))

    @property
    def budget(self) -> int:
        """The number of trials to train: the page's number, or the number of points of a smaller grid."""
        return min(self.page.sweep.trials, self._optuna.limit or self.page.sweep.trials)

    @property
    def left(self) -> int:
        """The number of trials that have not been drawn yet; negative if the page now wants fewer than were drawn."""
        return self.budget - len(self.ledger)

    @property
    def between_generations(self) -> bool:
        """Whether the study may end here: a deterministic one ends with a whole generation, of which all have ended."""
        whole = len(self.ledger) % self.page.sweep.generation == 0
        return not self.page.sweep.deterministic or (whole and not self._open)

    def ask(self, new: bool = True) -> Lease | None:
        """Lease an attempt at an unfinished trial, or else at a new one; return None if there is nothing to train now.

        A deterministic sweep begins the next sweep.generation trials only after all trials before them have ended.

        Args:
            new: whether a new trial may begin.

        Raises:
            StudyError: the constraints exclude nearly the whole space.
        """
        if self._waiting:
            return self.ledger.lease(self._waiting.pop(0))
        if not new or self.left <= 0 or self._optuna.exhausted or self._generation_is_running():
            return None
        number = self.ledger.enter(*self._optuna.draw(len(self.ledger))).number
        self._open.add(number)
        self._untold.add(number)
        return self.ledger.lease(number)

    def settle(self, outcome: Outcome) -> Entry | None:
        """Record an outcome and return its trial; None if the outcome's lease no longer counts.

        If the attempt was lost and the trial has attempts left, `ask` leases the trial again, before any new trial.
        """
        entry = self.ledger.settle(outcome)
        if entry is None:
            return None
        if entry.outcome is None:
            self._waiting.append(entry.number)
        else:
            self._open.discard(entry.number)
            self._count(entry)
            self._tell_due()
        return entry

    def give_back(self, lease: Lease) -> None:
        """Take back an attempt that never began: `ask` leases the trial again, and no attempt is counted."""
        # If the worker was slow rather than lost, the outcome may have been recorded meanwhile; then the trial is done.
        if self.ledger.is_open(lease.token):
            self.ledger.abandon(lease.token)
            self._waiting.append(lease.number)

    def report(self, number: int, epoch: int, metrics: Epoch) -> bool:
        """Report an epoch, whose number is from 1, to the pruner; return True if the trial should stop."""
        value = metrics.metrics()[self.page.sweep.objective]
        if self.page.sweep.cost is None:
            return self._optuna.report(self.ledger.entry(number).optuna_number, epoch, value)
        cost = front.cost_of((metrics,), self.page.sweep)
        return self._rungs is not None and cost is not None and self._rungs.reach(number, epoch, value, cost)

    def note_run(self, number: int, run_id: str) -> None:
        """Record the id of the trial's run in MLflow."""
        self.ledger.note_run(number, run_id)

    def _known_rungs(self) -> Rungs | None:
        """Return what the trials that have ended reached; None if the search has one goal, or prunes nothing."""
        sweep = self.page.sweep
        if sweep.cost is None or sweep.pruner == "none":
            return None
        # Earlier than in a search for one goal, by default after a tenth of the epochs (bench/two_goals.py): fewer
        # trials are rivals, so more pass.
        rungs = Rungs(sweep, max(1, 3 * self._prune_from // 10))
        for trial in self.finished():
            cost = front.cost_of(trial.epochs, sweep)
            for number, epoch in enumerate(trial.epochs if cost is not None else (), start=1):
                rungs.reach(trial.number, number, epoch.metrics()[sweep.objective], cost or 0.0)
        return rungs

    def _generation_is_running(self) -> bool:
        whole = len(self.ledger) % self.page.sweep.generation == 0
        return self.page.sweep.deterministic and whole and bool(self._open)

    def _tell_due(self) -> None:
        """Report outcomes to the sampler: each when its trial ends; if deterministic, a whole generation at once."""
        due = self._untold - self._open
        more = self.left > 0 and not self._optuna.exhausted
        if self.page.sweep.deterministic and (self._open or more):
            # What a sampler learns depends on the order of the reports. Report a generation as a whole, after all its
            # trials have ended, so that the next points do not depend on the number of slots, on speed or on restarts.
            size = self.page.sweep.generation
            due = {number for number in due if number < min(self._open, default=len(self.ledger)) // size * size}
        for number in sorted(due):
            entry = self.ledger.entry(number)
            if entry.outcome is not None:
                self._optuna.tell(entry.optuna_number, entry.outcome)
            # After the journal: if the driver dies in between, the next one reports again, which changes nothing.
            self.ledger.note_told(number)
            self._untold.discard(number)


@contextmanager
def open_study(
    folder: Path, page: Experiment, dataset_digest: str, network_source: str | None = None
) -> Iterator[Study]:
    """Open a study, or begin it, and hold its lock during the block.

    Args:
        folder: the study's own folder; made if absent.
        page: the experiment; its space, network and search settings identify the study.
        dataset_digest: digest of the prepared data set, which also identifies the study.
        network_source: the text of a user's network file; None for a built-in network.

    Raises:
        StudyError: the folder holds another search, or another sweep is running in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with study_folder.locked(folder):
        study = Study(folder, page, study_folder.identify(folder, page, dataset_digest, network_source))
        try:
            study.remember(trials=str(study.budget))  # for readers that do not have the page
            yield study
        except BuilderError:
            # Found before the first trial: the corrected network is another search, and may use the same folder.
            if not len(study.ledger):
                study_folder.forget(folder)
            raise
        finally:
            study.ledger.close()


def read_study(folder: Path, page: Experiment, dataset_digest: str, network_source: str | None = None) -> StudyRecord:
    """Open a study for reading, even while a sweep is running in it.

    Raises:
        StudyError: the folder holds no study, or one of another search.
    """
    study_folder.check_present(folder)
    identity = study_folder.identify(folder, page, dataset_digest, network_source, reading=True)
    return StudyRecord(folder, page, identity)
