"""The study: one search over one space, kept in a folder, that survives restarts.

    with open_study(folder, page, dataset_digest) as study:
        asked = study.ask()            # None once the page's number of trials is reached
        study.tell(asked, outcome)

The folder holds Optuna's journal, `study.json` with the study's identity, and a lock that only one sweep can hold.
"""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.command import write_json
from windrow.errors import StudyError
from windrow.experiment import Experiment
from windrow.sweep import space
from windrow.sweep.outcomes import Ending, Outcome
from windrow.training.parameters import Value

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Asked:
    """A point to train: the trial's number and its place in the space. `attempt` counts from 1."""

    number: int
    attempt: int
    point: dict[str, Value]


@dataclass(frozen=True)
class Finished:
    """A trial that has ended. `value` is None unless the ending is ok."""

    number: int
    point: dict[str, Value]
    ending: Ending
    value: float | None
    seconds: float
    run_id: str


class Study:
    """Asks for points and is told outcomes; every word of it is in the journal before it returns."""

    def __init__(self, folder: Path, page: Experiment, identity: dict[str, Any]) -> None:
        self.folder = folder
        self.page = page
        self.identity = identity
        self._distributions = space.distributions(page.space)
        self._storage = _open_storage(folder)
        self._study = _open_optuna(self._storage, page)
        self._study_id = self._storage.get_study_id_from_name(page.name)
        self._interrupted = [trial for trial in self._trials() if trial.state.name == "RUNNING"]
        if not self._trials():
            self._enqueue_default()

    @property
    def id(self) -> str:
        """Identity of the search and its data: the same page and data give the same id."""
        return str(self.identity["id"])

    def remember(self, **facts: str) -> None:
        """Keep facts about the study, such as its MLflow run, in study.json."""
        self.identity.update(facts)
        write_json(self.folder / "study.json", self.identity)

    def ask(self) -> Asked | None:
        """The next point: trials that were cut off first, then new ones. None if there is nothing left to ask."""
        while self._interrupted:
            trial = self._interrupted.pop(0)
            if self._complete(trial):
                return self._attempt(trial.number, dict(trial.params))
            self._study.tell(trial.number, state=trial.state.FAIL)  # cut off while it was being asked: it has no point
        if sum(map(self._complete, self._trials())) >= self.budget:
            return None
        asked = self._study.ask(self._distributions)
        return self._attempt(asked.number, dict(asked.params))

    def again(self, asked: Asked) -> Asked:
        """Another attempt at the same trial."""
        return self._attempt(asked.number, asked.point)

    def note_run(self, asked: Asked, run_id: str) -> str | None:
        """Keep the MLflow run of an attempt; gives back the run of the attempt before, if there was one."""
        before: str | None = self._trial(asked.number).user_attrs.get("run_id")
        self._set(asked.number, "run_id", run_id)
        return before

    def tell(self, asked: Asked, outcome: Outcome) -> None:
        """Record how a trial ended. For the sampler a diverged one is the worst; a failed one teaches it nothing."""
        from optuna.trial import TrialState

        for key, value in (
            ("ending", outcome.ending.value),
            ("seconds", outcome.seconds),
            ("error", outcome.error),
            ("worker", outcome.worker),
        ):
            self._set(asked.number, key, value)
        if outcome.ending is Ending.OK:
            self._study.tell(asked.number, outcome.value)
        else:
            state = TrialState.PRUNED if outcome.ending is Ending.DIVERGED else TrialState.FAIL
            self._study.tell(asked.number, state=state)

    def finished(self) -> list[Finished]:
        """Every trial that has ended, by number."""
        return [_finished(trial) for trial in self._trials() if trial.state.is_finished() and self._complete(trial)]

    def ranked(self) -> list[Finished]:
        """The trials that ended ok, best first; equal ones by number."""
        sign = -1 if self.page.sweep.direction == "maximize" else 1
        good = [trial for trial in self.finished() if trial.value is not None]
        return sorted(good, key=lambda trial: (sign * (trial.value or 0.0), trial.number))

    def _enqueue_default(self) -> None:
        """Trial 0 is the default configuration, where it lies in the space: what a search must beat."""
        defaults = {name: value for name, value in self.page.network.defaults().items() if name in self.page.space}
        if self.page.sweep.sampler != "grid" and space.contains(self.page.space, defaults):
            self._study.enqueue_trial(defaults)

    @property
    def budget(self) -> int:
        """Trials to ask for: the page's number, or the whole grid where that is less."""
        if self.page.sweep.sampler != "grid":
            return self.page.sweep.trials
        points = 1
        for dimension in self.page.space.values():
            points *= len(space.grid_values(dimension))
        return min(self.page.sweep.trials, points)

    def _complete(self, trial: FrozenTrial) -> bool:
        return set(trial.params) == set(self._distributions)

    def _trials(self) -> list[FrozenTrial]:
        trials: list[FrozenTrial] = self._study.get_trials(deepcopy=False)
        return trials

    def _attempt(self, number: int, point: dict[str, Value]) -> Asked:
        attempt = int(self._trial(number).user_attrs.get("attempt", 0)) + 1
        self._set(number, "attempt", attempt)
        return Asked(number, attempt, point)

    def _trial(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._trial_id(number))

    def _trial_id(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number))

    def _set(self, number: int, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._trial_id(number), key, value)


def seed_of(study_seed: int, *parts: int) -> int:
    """A seed in 0..2**31-1 from the study's seed and a trial's number (or more parts), whoever asks and when."""
    text = ":".join(map(str, (study_seed, *parts)))
    return int.from_bytes(sha256(text.encode()).digest()[:4]) >> 1


@contextmanager
def open_study(folder: Path, page: Experiment, dataset_digest: str) -> Iterator[Study]:
    """Open a study, or begin it.

    Raises:
        StudyError: the folder holds another search, or another sweep is at work in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StudyError(
                f"one sweep at a time may work in {folder}; another holds it; wait, or take another folder"
            ) from error
        yield Study(folder, page, _identify(folder, page, dataset_digest))


def read_study(folder: Path, page: Experiment, dataset_digest: str) -> Study:
    """Open a study for reading.

    Raises:
        StudyError: no study there, or one of another search.
    """
    if not (folder / "study.json").is_file():
        raise StudyError(f"--study must hold a study; got {folder}; run sweep.py first")
    return Study(folder, page, _identify(folder, page, dataset_digest))


def _identify(folder: Path, page: Experiment, dataset_digest: str) -> dict[str, Any]:
    search = page.search_digest()
    mine = {"search": search, "dataset": dataset_digest, "experiment": page.name}
    path = folder / "study.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        different = [key for key, value in mine.items() if found.get(key) != value]
        if different:
            raise StudyError(
                f"a study continues only with the same page and data; {folder} has another {' and '.join(different)}; "
                "take another folder"
            )
        return found
    identity = {**mine, "id": sha256(json.dumps(mine, sort_keys=True).encode()).hexdigest()[:16]}
    write_json(path, identity)
    return identity


def _open_storage(folder: Path) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def _open_optuna(storage: BaseStorage, page: Experiment) -> OptunaStudy:
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    names = optuna.get_all_study_names(storage)
    done = len(optuna.load_study(study_name=page.name, storage=storage).trials) if page.name in names else 0
    # A resumed sampler with the first seed would draw the first points again.
    sampler = space.sampler(page.sweep, page.space, seed_of(page.sweep.seed, done))
    return optuna.create_study(
        study_name=page.name, storage=storage, sampler=sampler, direction=page.sweep.direction, load_if_exists=True
    )


def _finished(trial: FrozenTrial) -> Finished:
    kept = trial.user_attrs
    ending = Ending(kept.get("ending", Ending.LOST))
    value = trial.value if ending is Ending.OK else None
    return Finished(
        trial.number, dict(trial.params), ending, value, float(kept.get("seconds", 0.0)), str(kept.get("run_id", ""))
    )
