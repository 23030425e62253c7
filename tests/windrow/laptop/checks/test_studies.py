"""The doctor compares the three records of a study, and leaves a running sweep alone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from windrow import experiment
from windrow.data.manifest import Manifest
from windrow.laptop.checks.finding import Finding
from windrow.laptop.checks.studies import check_studies
from windrow.paths import home
from windrow.sweep.audit import read_books
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.spec import facts_of
from windrow.sweep.study import open_study
from windrow.tracking.server import connect
from windrow.tracking.sweep_log import open_sweep
from windrow.training.loop import Epoch


def only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


TEXT = "name: {name}\nspace: {{units: {{type: int, low: 8, high: 99}}}}\nsweep: {{trials: 2, sampler: random}}\n"
DATASET = Manifest("x", "x", "d" * 64, (8, 8, 1), ("0", "1"), {}, {}, {})


def swept(name: str, trials: int = 2, mlflow: bool = False, place: str = "studies/{name}") -> Path:
    """A study under this test's home, of two trials of which so many have ended."""
    folder = home() / place.format(name=name)
    page = experiment.parse(TEXT.format(name=name))
    (home() / "page.yaml").parent.mkdir(parents=True, exist_ok=True)
    (home() / "page.yaml").write_text("a page")
    with ExitStack() as stack:
        study = stack.enter_context(open_study(folder, page, "data"))
        log = None
        if mlflow:
            log = stack.enter_context(open_sweep(page, home() / "page.yaml", DATASET, study))
        for _ in range(trials):
            asked = study.ask()
            assert asked is not None
            outcome = Outcome(asked.number, 1, Ending.OK, 0.5, (Epoch(1.0, 0.5, 1.0, 0.5, 0.1),), lease=asked.token)
            if log is not None:
                log.begin(asked, facts_of(page, asked.number, asked.point))
            study.settle(outcome)
            if log is not None:
                log.end(outcome, over=True)
        if log is not None:
            facts = {"outcomes": {"ok": trials}, "trials": trials, "seconds": 1.0, "efficiency": {}, "slots": 1}
            best = {"objective": "val_accuracy", "best_value": 0.5, "best_trial": 0, "best_point": {}}
            log.summarize(facts | best)
    return folder


def test_a_study_whose_books_agree_is_well_without_an_mlflow() -> None:
    swept("digits")
    finding = only(check_studies())
    assert finding == Finding("study digits", "2 trials; ledger and journal agree; there are no MLflow runs to compare")
    assert not (home() / "mlflow").exists()  # the doctor makes nothing


def test_a_study_that_was_cut_off_is_told_and_no_problem() -> None:
    swept("digits", trials=1)
    assert only(check_studies()).found.startswith("1 of 2 trials ended so far; ledger and journal agree")
    assert only(check_studies()).well


def test_of_a_train_dag_the_newest_study_is_looked_at() -> None:
    for run in ("first", "second"):
        place = swept("digits", place=f"runs/train_digits/{run}/study")
        os.utime(place / "study.json", (1, 1 if run == "first" else 2))
    assert only(check_studies()).subject == "study train_digits/second"


def test_a_study_at_which_a_sweep_is_at_work_is_left_alone() -> None:
    folder = swept("digits", trials=1)
    with open_study(folder, experiment.parse(TEXT.format(name="digits")), "data"):
        finding = only(check_studies())
    assert finding.well
    assert finding.found == "a sweep is running in it; its records are compared when the sweep has ended"
    assert "1 of 2 trials" in only(check_studies()).found


def test_books_that_differ_are_a_problem_with_its_cure() -> None:
    folder = swept("digits")
    with sqlite3.connect(folder / "ledger.db") as book:
        book.execute("UPDATE trials SET asked_as = 9 WHERE number = 1")
    finding = only(check_studies())
    assert not finding.well
    assert finding.cure.startswith("trial 1 must be in Optuna's journal as 9; it is not there")


def test_a_ledger_that_is_no_database_is_a_problem() -> None:
    folder = swept("digits")
    (folder / "ledger.db").write_text("not a database, but long enough to be looked at" * 100)
    assert "ledger must be whole" in only(check_studies()).cure


@pytest.mark.mlflow
def test_the_three_books_of_a_sweep_are_compared(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    folder = swept("doctored", mlflow=True)
    assert only(check_studies()) == Finding("study doctored", "2 trials; ledger, journal and MLflow agree")
    client = connect()
    run_id = read_books(folder).entries[1].run_id
    client.set_terminated(run_id, "FAILED")
    finding = only(check_studies())
    assert finding.cure.startswith(
        "trial 1 must have ended as ok in attempt 1, FINISHED in MLflow; got ok in attempt 1, F"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "ledger and journal agree; MLflow was not compared: MLflow must answer" in only(check_studies()).found
