"""The study: one search over one space, kept in a folder, that survives restarts.

    with open_study(folder, page, dataset_digest, network_source) as study:
        asked = study.ask()            # None: nothing to ask now; for good, if no trial is running
        study.settle(outcome)          # the trial's entry, or None if the outcome does not count

The folder holds the ledger (ledger.db), Optuna's journal (journal.log), the study's identity (study.json), and a lock
that only one sweep can hold.
"""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from windrow.errors import StudyError
from windrow.experiment import Experiment
from windrow.experiment.parameters import Value
from windrow.files import is_locked, locked_or_refused, write_json
from windrow.sweep.ledger import FILE, Entry, Ledger
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.sampling.optuna_study import Asking


@dataclass(frozen=True)
class Asked:
    """A point to train: the trial's number, its place in the space, and the lease under which it is reported."""

    number: int
    attempt: int
    point: dict[str, Value]
    lease: str = ""


@dataclass(frozen=True)
class Finished:
    """A trial that has ended for good. `value` is None unless the ending is ok."""

    number: int
    point: dict[str, Value]
    ending: Ending
    value: float | None
    seconds: float
    run_id: str
    epochs: int = 0


class StudyRecord:
    """What a study has found so far."""

    def __init__(self, folder: Path, page: Experiment, identity: dict[str, Any], reading: bool = True) -> None:
        self.folder = folder
        self.page = page
        self.identity = identity
        self.ledger = Ledger(folder, reading)
        self._entries = {entry.number: entry for entry in self.ledger.entries()}
        self.endings: Counter[Ending] = Counter()
        self.best: Finished | None = None
        for trial in self.finished():
            self._count(trial)

    @property
    def id(self) -> str:
        """Identity of the search and its data: the same page, network and data give the same id."""
        return str(self.identity["id"])

    def entries(self) -> list[Entry]:
        """Every trial, by number."""
        return list(self._entries.values())

    def finished(self) -> list[Finished]:
        """Every trial that has ended for good, by number."""
        return [_finished(entry, entry.outcome) for entry in self.entries() if entry.outcome is not None]

    def ranked(self) -> list[Finished]:
        """The trials that ended ok, best first; equal ones by number."""
        return sorted((trial for trial in self.finished() if trial.value is not None), key=self._rank)

    def _rank(self, trial: Finished) -> tuple[float, int]:
        sign = -1 if self.page.sweep.direction == "maximize" else 1
        return sign * (trial.value or 0.0), trial.number

    def _count(self, trial: Finished) -> None:
        self.endings[trial.ending] += 1
        if trial.value is not None and (self.best is None or self._rank(trial) < self._rank(self.best)):
            self.best = trial


class Study(StudyRecord):
    """Asks for points and takes outcomes; every word of it is in the ledger before it returns.

    Raises:
        ServiceError: from any call, if the folder's disk is full.
    """

    def __init__(self, folder: Path, page: Experiment, identity: dict[str, Any]) -> None:
        super().__init__(folder, page, identity, reading=False)
        self._asking = Asking(folder, page, [entry.point for entry in self.entries()])
        for point, asked_as in self._asking.orphans({entry.asked_as for entry in self.entries()}):
            self._enter(point, asked_as)
        self._open = {entry.number for entry in self.entries() if entry.outcome is None}
        self._untold = {entry.number for entry in self.entries() if not entry.told}
        self._waiting = sorted(self._open)
        self._tell_due()

    def remember(self, **facts: str) -> None:
        """Keep facts about the study, such as its MLflow run, in study.json."""
        self.identity.update(facts)
        write_json(self.folder / "study.json", self.identity)

    @property
    def budget(self) -> int:
        """Trials to ask for: the page's number, or all points of the grid where that is less."""
        return min(self.page.sweep.trials, self._asking.most or self.page.sweep.trials)

    @property
    def left(self) -> int:
        """Trials that have not been asked for."""
        return self.budget - len(self._entries)

    def ask(self) -> Asked | None:
        """The next attempt: trials without an end first, then new ones. None if there is nothing to ask now.

        In a deterministic sweep a generation is asked only when the one before it has ended.

        Raises:
            StudyError: the constraints leave next to nothing of the space.
        """
        if self._waiting:
            return self._attempt(self._waiting.pop(0))
        if self.left <= 0 or self._asking.exhausted or self._generation_is_running():
            return None
        number = self._enter(*self._asking.draw(len(self._entries)))
        self._open.add(number)
        self._untold.add(number)
        return self._attempt(number)

    def settle(self, outcome: Outcome) -> Entry | None:
        """Count an outcome; the trial's entry. None if it came under a lease that counts no longer.

        A lost trial that has attempts left is what `ask` gives next.
        """
        if not self.ledger.settle(outcome):
            return None
        entry = self._entries[outcome.number] = self.ledger.entry(outcome.number)
        if entry.outcome is None:
            self._waiting.append(entry.number)
        else:
            self._open.discard(entry.number)
            self._count(_finished(entry, entry.outcome))
            self._tell_due()
        return entry

    def give_back(self, asked: Asked) -> None:
        """An attempt that never began: the trial is asked again, and has lost nothing."""
        if self.ledger.is_open(asked.lease):
            self.ledger.abandon(asked.lease)
            self._waiting.append(asked.number)

    def report(self, number: int, epoch: int, value: float) -> bool:
        """Tell the pruner the objective after an epoch (from 1); whether it says to stop."""
        return self._asking.report(self._entries[number].asked_as, epoch, value)

    def note_run(self, number: int, run_id: str) -> None:
        """Keep the trial's run in MLflow."""
        self.ledger.note_run(number, run_id)
        self._entries[number] = self.ledger.entry(number)

    def _generation_is_running(self) -> bool:
        whole = len(self._entries) % self.page.sweep.generation == 0
        return self.page.sweep.deterministic and whole and bool(self._open)

    def _tell_due(self) -> None:
        """Tell the sampler what it has not heard: each trial as it ends, or whole generations in order of number."""
        due = self._untold - self._open
        more = self.left > 0 and not self._asking.exhausted
        if self.page.sweep.deterministic and (self._open or more):
            size = self.page.sweep.generation
            due = {number for number in due if number < min(self._open, default=len(self._entries)) // size * size}
        for number in sorted(due):
            entry = self._entries[number]
            if entry.outcome is not None:
                self._asking.tell(entry.asked_as, entry.outcome, self.page.sweep.objective)
            self.ledger.note_told(number)
            self._untold.discard(number)

    def _enter(self, point: dict[str, Value], asked_as: int) -> int:
        number = self.ledger.enter(point, asked_as)
        self._entries[number] = self.ledger.entry(number)
        return number

    def _attempt(self, number: int) -> Asked:
        lease = self.ledger.lease(number)
        return Asked(number, lease.attempt, self._entries[number].point, lease.token)


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
    with _locked(folder):
        study = Study(folder, page, _identify(folder, page, dataset_digest, network_source))
        try:
            study.remember(trials=str(study.budget))  # for who looks on, and has no page at hand
            yield study
        finally:
            study.ledger.close()


def read_study(folder: Path, page: Experiment, dataset_digest: str, network_source: str | None = None) -> StudyRecord:
    """Open a study for reading.

    Raises:
        StudyError: no study there, or one of another search.
    """
    _check_present(folder)
    return StudyRecord(folder, page, _identify(folder, page, dataset_digest, network_source))


def dataset_of(folder: Path) -> str:
    """The digest of the data set that a study is of, for readers that have no data set at hand.

    Raises:
        StudyError: no study there.
    """
    _check_present(folder)
    return str(json.loads((folder / "study.json").read_text(encoding="utf-8"))["dataset"])


def is_at_work(folder: Path) -> bool:
    """Whether a sweep is at work in a study's folder; asks without standing in the way of one that begins."""
    path = folder / "lock"
    found = re.match(r"process (\d+) on (.*), since", path.read_text(encoding="utf-8")) if path.is_file() else None
    if found is None or (found[2] == socket.gethostname() and not psutil.pid_exists(int(found[1]))):
        return False
    return is_locked(path)  # the number of a sweep that has ended may be another process's by now


def _check_present(folder: Path) -> None:
    if not (folder / "study.json").is_file() or not (folder / FILE).is_file():
        raise StudyError(f"--study must hold a study; got {folder}; run sweep.py first")


def _locked(folder: Path) -> AbstractContextManager[None]:
    """Hold the folder alone."""

    def refusal(owner: str) -> StudyError:
        return StudyError(
            f"one sweep at a time may work in {folder}; {owner} does; wait for it, or take another folder"
        )

    return locked_or_refused(folder / "lock", "", refusal)


def _identify(folder: Path, page: Experiment, dataset_digest: str, network_source: str | None) -> dict[str, Any]:
    mine = {"search": page.search_digest(), "dataset": dataset_digest, "experiment": page.name}
    if network_source is not None:
        mine["network file"] = sha256(network_source.encode()).hexdigest()[:16]
    path = folder / "study.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        different = [key for key, value in mine.items() if found.get(key) != value]
        if different:
            raise StudyError(
                f"a study continues only with the same page, network and data; {folder} has another "
                f"{' and '.join(different)}; take another folder"
            )
        return found
    identity = {**mine, "id": sha256(json.dumps(mine, sort_keys=True).encode()).hexdigest()[:16]}
    identity["objective"] = page.sweep.objective  # for a later study that starts warm
    write_json(path, identity)
    return identity


def _finished(entry: Entry, outcome: Outcome) -> Finished:
    return Finished(
        entry.number, entry.point, outcome.ending, outcome.value, outcome.seconds, entry.run_id, len(outcome.epochs)
    )
