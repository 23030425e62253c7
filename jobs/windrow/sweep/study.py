"""The study: one search over one space, in a folder of its own, that survives restarts.

    with open_study(folder, page, dataset_digest, network_source) as study:
        lease = study.ask()            # None: nothing to train now; for good, if no trial is running
        entry = study.settle(outcome)  # the trial, or None if the outcome does not count

The folder holds the ledger (ledger.db), Optuna's journal (journal.log), the study's identity (study.json), and a lock
that one sweep at a time can hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from windrow.experiment import Experiment
from windrow.sweep import study_folder
from windrow.sweep.ledger import Entry, Lease, Ledger
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.sampling.optuna_study import OptunaStudy


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
        """Identity of the search and its data: the same page, network and data give the same id."""
        return self.identity["id"]

    def entries(self) -> list[Entry]:
        """Return every trial, by number."""
        return self.ledger.entries()

    def finished(self) -> list[Entry]:
        """Return the trials that have ended for good, by number: each has an outcome."""
        return [entry for entry in self.entries() if entry.outcome is not None]

    def ranked(self) -> list[Entry]:
        """Return the trials that ended ok, best first; equal ones by number."""
        return sorted((trial for trial in self.finished() if trial.value is not None), key=self._rank)

    def _rank(self, trial: Entry) -> tuple[float, int]:
        sign = -1 if self.page.sweep.direction == "maximize" else 1
        return sign * (trial.value or 0.0), trial.number

    def _count(self, trial: Entry) -> None:
        if trial.ending is not None:
            self.endings[trial.ending] += 1
        if trial.value is not None and (self.best is None or self._rank(trial) < self._rank(self.best)):
            self.best = trial


class Study(StudyRecord):
    """Asks for points and counts outcomes; all of it is in the ledger before a call returns.

    A driver may die between any two writes. They are ordered so that the next driver finds what is missing: a point is
    in Optuna's journal before the ledger, an outcome in the ledger before the journal.

    Raises:
        ServiceError: from any call, if the folder's disk is full.
    """

    def __init__(self, folder: Path, page: Experiment, identity: dict[str, str]) -> None:
        super().__init__(folder, page, identity, reading=False)
        self._optuna = OptunaStudy(folder, page, [entry.point for entry in self.entries()])
        # Points that a killed driver drew and did not enter: without them the sampler's state and the ledger differ.
        for point, optuna_number in self._optuna.orphans({entry.optuna_number for entry in self.entries()}):
            self.ledger.enter(point, optuna_number)
        self._open = {entry.number for entry in self.entries() if entry.outcome is None}
        self._untold = {entry.number for entry in self.entries() if not entry.told}
        self._waiting = sorted(self._open)  # no worker of an earlier driver can report any more: train them again
        self._tell_due()

    def remember(self, **facts: str) -> None:
        """Record facts about the study, such as its MLflow run, in study.json."""
        self.identity.update(facts)
        study_folder.write_identity(self.folder, self.identity)

    @property
    def budget(self) -> int:
        """Trials to ask for: the page's number, or all points of the grid where that is less."""
        return min(self.page.sweep.trials, self._optuna.limit or self.page.sweep.trials)

    @property
    def left(self) -> int:
        """Trials that have not been asked for."""
        return self.budget - len(self.ledger)

    def ask(self) -> Lease | None:
        """Return the next attempt: trials without an end first, then new ones. None if there is nothing to train now.

        In a deterministic sweep a generation is asked for when the one before it has ended.

        Raises:
            StudyError: the constraints leave next to nothing of the space.
        """
        if self._waiting:
            return self.ledger.lease(self._waiting.pop(0))
        if self.left <= 0 or self._optuna.exhausted or self._generation_is_running():
            return None
        number = self.ledger.enter(*self._optuna.draw(len(self.ledger))).number
        self._open.add(number)
        self._untold.add(number)
        return self.ledger.lease(number)

    def settle(self, outcome: Outcome) -> Entry | None:
        """Count an outcome and return its trial; None if its lease counts no longer.

        A lost trial that has attempts left is the next that `ask` returns.
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
        """Return an attempt that never began: the trial is asked for again, and has lost no attempt."""
        # Its worker may have been slow rather than lost, and its outcome counted meanwhile: then the trial is done.
        if self.ledger.is_open(lease.token):
            self.ledger.abandon(lease.token)
            self._waiting.append(lease.number)

    def report(self, number: int, epoch: int, value: float) -> bool:
        """Report the objective after an epoch (from 1) to the pruner; return True if the trial should stop."""
        return self._optuna.report(self.ledger.entry(number).optuna_number, epoch, value)

    def note_run(self, number: int, run_id: str) -> None:
        """Record the trial's run in MLflow."""
        self.ledger.note_run(number, run_id)

    def _generation_is_running(self) -> bool:
        whole = len(self.ledger) % self.page.sweep.generation == 0
        return self.page.sweep.deterministic and whole and bool(self._open)

    def _tell_due(self) -> None:
        """Report outcomes to the sampler: each as its trial ends, or whole generations in order of number."""
        due = self._untold - self._open
        more = self.left > 0 and not self._optuna.exhausted
        if self.page.sweep.deterministic and (self._open or more):
            # What a sampler learns depends on the order in which it is told. A generation is told as a whole, and only
            # once every trial of it has ended, so that neither slots nor speed nor a restart changes the next points.
            size = self.page.sweep.generation
            due = {number for number in due if number < min(self._open, default=len(self.ledger)) // size * size}
        for number in sorted(due):
            entry = self.ledger.entry(number)
            if entry.outcome is not None:
                self._optuna.tell(entry.optuna_number, entry.outcome, self.page.sweep.objective)
            # After the journal: a driver that dies in between tells it again, which changes nothing.
            self.ledger.note_told(number)
            self._untold.discard(number)


@contextmanager
def open_study(
    folder: Path, page: Experiment, dataset_digest: str, network_source: str | None = None
) -> Iterator[Study]:
    """Open a study, or begin it.

    Args:
        folder: the study's own folder; made if absent.
        page: the experiment; its space, network and way of searching are the study's identity.
        dataset_digest: of the prepared data set.
        network_source: the text of a user's network file; None for a built-in network.

    Raises:
        StudyError: the folder holds another search, or another sweep is at work in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with study_folder.locked(folder):
        study = Study(folder, page, study_folder.identify(folder, page, dataset_digest, network_source))
        try:
            study.remember(trials=str(study.budget))  # for readers that have no page at hand
            yield study
        finally:
            study.ledger.close()


def read_study(folder: Path, page: Experiment, dataset_digest: str, network_source: str | None = None) -> StudyRecord:
    """Open a study for reading, while a sweep may be at work in it.

    Raises:
        StudyError: the folder holds no study, or one of another search.
    """
    study_folder.check_present(folder)
    return StudyRecord(folder, page, study_folder.identify(folder, page, dataset_digest, network_source))
