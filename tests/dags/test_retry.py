"""A sweep whose driver is killed under Airflow: the task's retry continues the same study by itself."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.spark,
    pytest.mark.tensorflow,
    pytest.mark.mlflow,
    pytest.mark.faults,
    pytest.mark.timeout(1200),
]

TRIALS = 8
PAGE = f"""
name: retried
space:
  learning_rate: {{type: float, low: 1e-3, high: 1e-2, log: true}}
sweep: {{trials: {TRIALS}, epochs: 40, sampler: random, seed: 1, fused: false}}
promotion: {{finalists: 1}}
"""


def settled(home: Path) -> dict[int, str]:
    """The lease under which each trial was settled, as the ledger of the only study says it."""
    for ledger in home.glob("runs/train_retried/*/study/ledger.db"):
        with sqlite3.connect(ledger) as book, suppress(sqlite3.OperationalError):
            return dict(book.execute("SELECT trial, lease FROM attempts WHERE state = 'settled'").fetchall())
    return {}


def kill_the_driver(home: Path) -> None:
    """SIGKILL the Python process that drives the sweep of this home."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            program, *rest = process.cmdline() or [""]  # a process that is just ending has none any more
            if "python" in program and "sweep.py" in " ".join(rest) and str(home) in " ".join(rest):
                process.kill()
                return
    raise AssertionError("no driver of a sweep was found")


@pytest.fixture(scope="module")
def killed(airflow: Any, dag_folder: Callable[..., Path], mlflow_server: str) -> dict[str, Any]:
    """A train run whose sweep was killed once two trials were settled."""
    home = Path(airflow.environment["WINDROW_HOME"])
    found: dict[str, Any] = {}

    def start() -> None:
        folder = dag_folder(retried=PAGE)
        found["run"] = airflow.run(folder, "train_retried", {}, MLFLOW_TRACKING_URI=mlflow_server)

    thread = threading.Thread(target=start)
    thread.start()
    try:
        while len(before := settled(home)) < 2:
            assert thread.is_alive(), "the run ended before two trials were settled"
            time.sleep(0.1)
        kill_the_driver(home)
    finally:
        thread.join()  # whatever went wrong here, the next test finds Airflow idle
    return {**found, "before": before, "after": settled(home)}


def test_the_retry_ends_the_run_well(killed: dict[str, Any]) -> None:
    run = killed["run"]
    assert run.state == "success", run.log[-6000:]
    assert run.tasks["sweep"]["tries"] == 2
    assert run.tasks["sweep"]["xcoms"]["return_value"]["outcomes"] == {"ok": TRIALS}


def test_the_retry_trains_no_trial_again_that_was_settled(killed: dict[str, Any]) -> None:
    assert 2 <= len(killed["before"]) < TRIALS, "the kill came too late to show anything"
    assert len(killed["after"]) == TRIALS
    assert killed["before"].items() <= killed["after"].items()


def test_mlflow_has_one_run_a_trial_under_one_parent(killed: dict[str, Any], mlflow_server: str) -> None:
    import mlflow

    client = mlflow.MlflowClient(mlflow_server)
    runs = client.search_runs([client.get_experiment_by_name("retried").experiment_id])
    kinds = [run.data.tags["windrow.kind"] for run in runs]
    assert (kinds.count("sweep"), kinds.count("trial")) == (1, TRIALS)
    assert {run.info.status for run in runs} == {"FINISHED"}
