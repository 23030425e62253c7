"""Check that a study's three records agree: Optuna's journal and MLflow must match the ledger, which decides.

    books = read_books(folder)
    audit(books, runs)      # one sentence per difference; empty if the records agree

MLflow's runs are an argument, because only tracking/ may read them: see tracking/runs.py. An interrupted study is not a
mistake: its journal and MLflow may be behind the ledger until the next sweep, but must not contradict it.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.errors import StudyError
from windrow.plural import counted
from windrow.sweep.ledger import FILE, Attempt, Entry, Ledger
from windrow.sweep.outcomes import RULES, Ending, Outcome, Signal

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_STATES = {Signal.VALUE: "COMPLETE", Signal.SO_FAR: "PRUNED", Signal.WORST: "PRUNED", Signal.NOTHING: "FAIL"}
_AGAIN = "run the sweep again, it brings the other books in line with the ledger"


@dataclass(frozen=True)
class TrialRun:
    """A trial's run in MLflow. For each metric, `metrics` has (step, value) for every epoch, or only the last value."""

    number: int
    run_id: str
    status: str
    ending: str = ""
    attempt: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepRun:
    """A study's parent run and its trials' runs in MLflow; `trials` is the number of trials that the parent shows."""

    run_id: str
    status: str
    trials: float | None
    runs: Sequence[TrialRun]
    whole: bool = True  # the runs have metrics for every epoch, not only for the last one


@dataclass(frozen=True)
class Books:
    """A study's ledger and journal. `journal` has Optuna's trials by Optuna's number."""

    identity: Mapping[str, str]
    entries: Sequence[Entry]
    attempts: Sequence[Attempt]
    journal: Mapping[int, FrozenTrial]

    @property
    def ended(self) -> int:
        """The number of trials that have ended for good."""
        return sum(entry.outcome is not None for entry in self.entries)

    @property
    def budget(self) -> int:
        """The number of trials that the latest sweep was to train; the number in the ledger if study.json lacks it."""
        return int(self.identity.get("trials", len(self.entries)))

    @property
    def over(self) -> bool:
        """True if every trial in the ledger has ended, and there are at least as many as the budget.

        From then on, a journal or an MLflow that is behind the ledger is a difference to report.
        """
        return self.ended == len(self.entries) >= self.budget


def read_books(folder: Path) -> Books:
    """Read a study's ledger and journal, while no sweep is running in the folder.

    Raises:
        StudyError: the folder holds no study.
        ServiceError: the ledger can't be opened.
    """
    if not (folder / "study.json").is_file() or not (folder / FILE).is_file():
        raise StudyError(f"a study's folder must hold study.json and {FILE}; {folder} does not; run sweep.py first")
    identity = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    ledger = Ledger(folder, reading=True)
    try:
        return Books(identity, ledger.entries(), ledger.attempts(), _journal(folder / "journal.log"))
    finally:
        ledger.close()


def _journal(path: Path) -> dict[int, FrozenTrial]:
    if not path.is_file():
        return {}
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(path)))
    return {
        trial.number: trial
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id, deepcopy=False)
    }


def audit(books: Books, said: SweepRun | None = None) -> list[str]:
    """Return the differences between a study's records, one sentence per difference.

    Args:
        books: the ledger and the journal.
        said: the study's runs in MLflow; None to leave MLflow out.
    """
    found = [*_of_ledger(books), *_of_journal(books)]
    return found if said is None else [*found, *_of_mlflow(books, said)]


def _of_ledger(books: Books) -> Iterator[str]:
    """Yield one sentence per mistake in the ledger itself, such as a gap in the numbers or an attempt after the end."""
    numbers = [entry.number for entry in books.entries]
    if numbers != list(range(len(numbers))):
        yield f"the ledger's trials must be numbered from 0 without gaps; got {_few(numbers)}"
    of_trial: dict[int, list[Attempt]] = {number: [] for number in numbers}
    for attempt in books.attempts:
        of_trial.setdefault(attempt.trial, []).append(attempt)
    for entry in books.entries:
        yield from _of_attempts(entry, of_trial[entry.number], books.over)


def _of_attempts(entry: Entry, attempts: Sequence[Attempt], over: bool) -> Iterator[str]:
    name = f"trial {entry.number}"
    if [attempt.number for attempt in attempts] != list(range(1, len(attempts) + 1)):
        yield f"{name}'s attempts must be numbered from 1 without gaps; got {[one.number for one in attempts]}"
    if over and any(attempt.state == "open" for attempt in attempts):
        yield f"{name} must have no open attempt in a study that is over; it has one; {_AGAIN}"
    settled = [attempt for attempt in attempts if attempt.state == "settled" and attempt.outcome is not None]
    for attempt in settled:
        if attempt.outcome is not None and attempt.outcome.lease != attempt.lease:
            yield f"{name}'s outcome must come under its own lease; attempt {attempt.number} has another's"
    final = [one for one in settled if one.outcome is not None and one.outcome.ending is not Ending.LOST]
    if len(final) > 1:
        yield f"{name} must end once; it has ended in attempts {', '.join(str(one.number) for one in final)}"
    if len(settled) > RULES[Ending.LOST].attempts:
        yield f"{name} must have {RULES[Ending.LOST].attempts} counted attempts at most; it has {len(settled)}"
    if entry.outcome is not None and attempts and attempts[-1].lease != entry.outcome.lease:
        yield f"{name} must not be begun after its end; it was, in attempt {attempts[-1].number}"


def _of_journal(books: Books) -> Iterator[str]:
    """Yield one sentence per difference between Optuna's journal and the ledger, in points or in how trials ended."""
    left = dict(books.journal)
    for entry in books.entries:
        trial = left.pop(entry.optuna_number, None)
        if trial is None:
            yield f"trial {entry.number} must be in Optuna's journal as {entry.optuna_number}; it is not there"
        elif trial.params:  # empty for a default configuration outside the space, which the sampler never sees
            yield from _of_told(entry, trial, books.over)
    for trial in left.values():
        if books.over and not trial.state.is_finished():
            yield f"Optuna's trial {trial.number} must be in the ledger or closed; it is {trial.state.name}; {_AGAIN}"


def _of_told(entry: Entry, trial: FrozenTrial, over: bool) -> Iterator[str]:
    name, outcome = f"trial {entry.number}", entry.outcome
    if trial.params != entry.point:
        yield f"{name} must have one point; the ledger has {entry.point}, Optuna's journal {trial.params}"
    if outcome is None:
        if trial.state.is_finished():
            yield f"{name} has no end in the ledger, and must have none in Optuna's journal; got {trial.state.name}"
        return
    if not trial.state.is_finished():
        if entry.told or over:
            yield f"the sampler must have been told how {name} ended; Optuna's journal has it running; {_AGAIN}"
        return
    wanted = _STATES[RULES[outcome.ending].signal]
    if trial.state.name != wanted:
        yield f"{name} must be {wanted} in Optuna's journal, for the ledger says {outcome.ending}; {trial.state.name}"
    elif outcome.value is not None and trial.value != outcome.value:
        yield f"{name} must have one value; the ledger has {outcome.value}, Optuna's journal {trial.value}"


def _of_mlflow(books: Books, said: SweepRun) -> Iterator[str]:
    """Yield one sentence per difference between MLflow and the ledger, in the parent run or in the trials' runs."""
    if books.over and said.status != "FINISHED":
        yield f"the sweep's run {said.run_id} must be FINISHED in MLflow; it is {said.status}; {_AGAIN}"
    if books.over and said.trials != len(books.entries):
        trials = counted(len(books.entries), "trial")
        yield f"the sweep's run must say {trials} in MLflow; it says {said.trials}; {_AGAIN}"
    runs: dict[int, list[TrialRun]] = {}
    for run in said.runs:
        runs.setdefault(run.number, []).append(run)
    for entry in books.entries:
        found = runs.pop(entry.number, [])
        if len(found) > 1:
            yield f"trial {entry.number} must have one run in MLflow; it has {len(found)}; {_AGAIN}"
        elif found and entry.outcome is not None:
            yield from _of_run(entry, entry.outcome, found[0], books.over, said.whole)
        elif books.over:
            yield f"trial {entry.number} must have a run in MLflow; it has none; {_AGAIN}"
    for number in sorted(runs):
        yield f"MLflow must know no trial that the ledger has not; it has trial {number}; {_AGAIN}"


def _of_run(entry: Entry, outcome: Outcome, run: TrialRun, over: bool, whole: bool) -> Iterator[str]:
    name, wanted = f"trial {entry.number}", (outcome.ending.value, str(outcome.attempt), RULES[outcome.ending].status)
    told = run.ending, run.attempt, run.status
    if told != wanted:
        if over or (run.ending and run.attempt == wanted[1] and run.ending != wanted[0]):
            yield f"{name} must have ended as {_told(*wanted)} in MLflow; got {_told(*told)}; {_AGAIN}"
        return
    if over and run.run_id != entry.run_id:
        known = entry.run_id or "none"
        yield f"{name}'s run must be the one that the ledger knows, {known}; got {run.run_id}; {_AGAIN}"
    for key, value in entry.point.items():
        if run.params.get(key) != str(value):
            yield f"{name}'s {key} must be {value} in MLflow, as in the ledger; got {run.params.get(key)}"
    yield from _of_metrics(name, outcome, run, whole)


def _of_metrics(name: str, outcome: Outcome, run: TrialRun, whole: bool) -> Iterator[str]:
    epochs = [epoch.metrics() for epoch in outcome.epochs]
    for key in epochs[0] if epochs else ():
        wanted = [(step, epoch[key]) for step, epoch in enumerate(epochs, start=1)]
        told = list(run.metrics.get(key, ()))
        if not whole:
            wanted, told = [(0, wanted[-1][1])], [(0, value) for _, value in told[-1:]]
        steps = [step for step, _ in wanted] == [step for step, _ in told]
        if not steps or not all(_same(one, other) for (_, one), (_, other) in zip(wanted, told, strict=True)):
            yield f"{name}'s {key} must be {_few(wanted)} in MLflow, as in the ledger; got {_few(told)}"


def _told(ending: str, attempt: str, status: str) -> str:
    return f"{ending or 'nothing'} in attempt {attempt or 'none'}, {status}"


def _same(one: float, other: float) -> bool:
    """Compare two metrics as MLflow stores them: NaN equals NaN, and infinity equals the largest float."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    most = sys.float_info.max
    return max(-most, min(most, one)) == max(-most, min(most, other))


def _few(values: Sequence[Any]) -> str:
    shown = ", ".join(map(str, values[:5]))
    return f"{shown}, ..." if len(values) > 5 else shown or "nothing"
