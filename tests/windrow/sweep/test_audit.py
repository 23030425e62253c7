"""The audit of a study's three books: silent where they agree, and one sentence for each thing that is broken."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from windrow.errors import StudyError
from windrow.experiment import parse
from windrow.sweep.audit import Books, SweepRun, TrialRun, audit, read_books
from windrow.sweep.outcomes import RULES, Ending, Outcome
from windrow.sweep.study import open_study
from windrow.training.loop import Epoch

TEXT = "name: a\nspace: {units: {type: int, low: 8, high: 99}}\nsweep: {trials: 3, sampler: random}\n"
EPOCHS = (Epoch(1.0, 0.5, 1.0, 0.25, 0.1), Epoch(0.9, 0.6, 0.9, 0.75, 0.1))
ENDINGS = (Ending.OK, Ending.PRUNED, Ending.DIVERGED)
AGAIN = "run the sweep again, it brings the other books in line with the ledger"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of three trials that came to its end, with what MLflow's runs are called."""
    with open_study(tmp_path / "study", parse(TEXT), "data") as study:
        for ending in ENDINGS:
            asked = study.ask()
            assert asked is not None
            value = 0.75 if ending is Ending.OK else None
            epochs = (replace(EPOCHS[0], loss=math.nan),) if ending is Ending.DIVERGED else EPOCHS
            study.settle(Outcome(asked.number, asked.attempt, ending, value, epochs, lease=asked.token))
            study.note_run(asked.number, f"run-{asked.number}")
    return tmp_path / "study"


def said(books: Books) -> SweepRun:
    """What MLflow has of a study where all went well."""
    runs = []
    for entry in books.entries:
        assert entry.outcome is not None
        epochs = [epoch.metrics() for epoch in entry.outcome.epochs]
        runs.append(
            TrialRun(
                entry.number,
                entry.run_id,
                RULES[entry.outcome.ending].status,
                entry.outcome.ending.value,
                str(entry.outcome.attempt),
                {name: str(value) for name, value in entry.point.items()},
                {name: [(step, epoch[name]) for step, epoch in enumerate(epochs, 1)] for name in epochs[0]},
            )
        )
    return SweepRun("parent", "FINISHED", float(len(runs)), runs)


def test_books_that_agree_are_no_finding(folder: Path) -> None:
    books = read_books(folder)
    assert (books.ended, books.budget, books.over) == (3, 3, True)
    assert audit(books) == []
    assert audit(books, said(books)) == []


def test_the_last_epochs_metrics_are_enough(folder: Path) -> None:
    books = read_books(folder)
    runs = [replace(run, metrics={k: [(0, v[-1][1])] for k, v in run.metrics.items()}) for run in said(books).runs]
    assert audit(books, replace(said(books), runs=runs, whole=False)) == []
    runs[0] = replace(runs[0], metrics={**runs[0].metrics, "val_accuracy": [(0, 0.5)]})
    (found,) = audit(books, replace(said(books), runs=runs, whole=False))
    assert found == "trial 0's val_accuracy must be (0, 0.75) in MLflow, as in the ledger; got (0, 0.5)"


def ledger(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "ledger.db") as book:
        book.execute(statement)


LEDGER = {
    "UPDATE trials SET number = 7 WHERE number = 2": "the ledger's trials must be numbered from 0 without gaps; got "
    "0, 1, 7",
    "UPDATE attempts SET attempt = 4 WHERE trial = 1": "trial 1's attempts must be numbered from 1 without gaps; "
    "got [4]",
    "INSERT INTO attempts VALUES ('x', 1, 2, 'open', NULL)": "trial 1 must have no open attempt in a study that is "
    "over",
    "INSERT INTO attempts VALUES ('x', 1, 2, 'abandoned', NULL)": "trial 1 must not be begun after its end; it was, in "
    "attempt 2",
    "UPDATE attempts SET lease = 'y' WHERE trial = 0": "trial 0's outcome must come under its own lease; attempt 1 has",
    "INSERT INTO attempts SELECT 'x', 0, 2, 'settled', outcome FROM attempts WHERE trial = 0": "trial 0 must end once; "
    "it has ended in attempts 1, 2",
    "UPDATE trials SET point = '{\"units\": 9}' WHERE number = 1": "trial 1 must have one point; the ledger has "
    "{'units': 9}, Optuna's journal ",
    "UPDATE trials SET asked_as = 9 WHERE number = 1": "trial 1 must be in Optuna's journal as 9; it is not there",
    "UPDATE attempts SET outcome = replace(outcome, '\"value\": 0.75', '\"value\": 0.5')": "trial 0 must have one "
    "value; the ledger has 0.5, Optuna's journal 0.75",
    "UPDATE attempts SET outcome = replace(outcome, 'pruned', 'failed')": "trial 1 must be FAIL in Optuna's journal, "
    "for the ledger says failed; PRUNED",
    "DELETE FROM attempts WHERE trial = 2": "trial 2 has no end in the ledger, and must have none in Optuna's journal; "
    "got PRUNED",
}


@pytest.mark.parametrize("statement", LEDGER)
def test_a_ledger_that_differs_from_the_journal_or_itself_is_told(folder: Path, statement: str) -> None:
    ledger(folder, statement)
    assert any(found.startswith(LEDGER[statement]) for found in audit(read_books(folder))), audit(read_books(folder))


def test_a_journal_that_was_not_told_of_an_end_is_told(folder: Path) -> None:
    path = folder / "journal.log"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))  # the last thing that a study says to its sampler
    (found,) = audit(read_books(folder))
    assert found == f"the sampler must have been told how trial 2 ended; Optuna's journal has it running; {AGAIN}"


def test_a_point_that_was_drawn_and_that_no_ledger_knows_is_told(folder: Path) -> None:
    ledger(folder, "DELETE FROM attempts WHERE trial = 2")
    ledger(folder, "DELETE FROM trials WHERE number = 2")
    (folder / "study.json").write_text((folder / "study.json").read_text().replace('"trials": "3"', '"trials": "2"'))
    path = folder / "journal.log"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    (found,) = audit(read_books(folder))
    assert found == f"Optuna's trial 2 must be in the ledger or closed; it is RUNNING; {AGAIN}"


def changed(number: int, **values: Any) -> Callable[[SweepRun], SweepRun]:
    def change(run: SweepRun) -> SweepRun:
        return replace(run, runs=[replace(one, **values) if one.number == number else one for one in run.runs])

    return change


def without_the_first(run: SweepRun) -> SweepRun:
    return replace(run, runs=run.runs[1:])


def with_another(number: int) -> Callable[[SweepRun], SweepRun]:
    return lambda run: replace(run, runs=[*run.runs, replace(run.runs[0], number=number)])


MLFLOW: dict[str, Callable[[SweepRun], SweepRun]] = {
    f"trial 0 must have a run in MLflow; it has none; {AGAIN}": without_the_first,
    f"trial 0 must have one run in MLflow; it has 2; {AGAIN}": with_another(0),
    f"MLflow must know no trial that the ledger has not; it has trial 8; {AGAIN}": with_another(8),
    f"the sweep's run parent must be FINISHED in MLflow; it is RUNNING; {AGAIN}": lambda run: replace(
        run, status="RUNNING"
    ),
    f"the sweep's run must say 3 trials in MLflow; it says 2.0; {AGAIN}": lambda run: replace(run, trials=2.0),
    "trial 1 must have ended as pruned in attempt 1, FINISHED in MLflow; got ok in attempt 1, FINISHED; "
    + AGAIN: changed(1, ending="ok"),
    "trial 1 must have ended as pruned in attempt 1, FINISHED in MLflow; got pruned in attempt 2, FINISHED; "
    + AGAIN: changed(1, attempt="2"),
    "trial 2 must have ended as diverged in attempt 1, FAILED in MLflow; got diverged in attempt 1, RUNNING; "
    + AGAIN: changed(2, status="RUNNING"),
    f"trial 2's run must be the one that the ledger knows, run-2; got other; {AGAIN}": changed(2, run_id="other"),
    "trial 0's units must be 64 in MLflow, as in the ledger; got 9": changed(0, params={"units": "9"}),
}


@pytest.mark.parametrize("sentence", MLFLOW)
def test_an_mlflow_that_differs_from_the_ledger_is_told(folder: Path, sentence: str) -> None:
    books = read_books(folder)
    assert audit(books, MLFLOW[sentence](said(books))) == [sentence]


@pytest.mark.parametrize("told", [[], [(1, 0.25)], [(1, 0.25), (3, 0.75)], [(1, 0.25), (2, 0.5)]])
def test_a_curve_that_is_another_in_mlflow_is_told(folder: Path, told: list[tuple[int, float]]) -> None:
    books = read_books(folder)
    mine = said(books)
    metrics = {**mine.runs[0].metrics, "val_accuracy": told}
    (found,) = audit(books, changed(0, metrics=metrics)(mine))
    assert found.startswith("trial 0's val_accuracy must be (1, 0.25), (2, 0.75) in MLflow, as in the ledger; got ")


def test_a_study_that_was_cut_off_may_be_behind_but_not_otherwise(folder: Path) -> None:
    ledger(folder, "INSERT INTO trials (number, point, asked_as) SELECT 3, point, 9 FROM trials WHERE number = 0")
    path = folder / "journal.log"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    ledger(folder, "UPDATE trials SET told = 0 WHERE number = 2")
    books = read_books(folder)
    assert not books.over
    books = replace(books, entries=books.entries[:3], identity={"trials": "4"})
    whole = said(books)
    assert audit(books, replace(without_the_first(whole), status="RUNNING", trials=None)) == []
    assert len(audit(books, changed(1, ending="ok")(whole))) == 1


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"must hold study\.json and ledger\.db"):
        read_books(tmp_path)
