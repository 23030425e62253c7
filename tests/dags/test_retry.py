"""A driver that is killed under Airflow: the task's retry goes on by itself, with the same study or the same feed."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness.waiting import wait_for
from harness.web import Reply, Request, Web

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.submit,
    pytest.mark.tensorflow,
    pytest.mark.mlflow,
    pytest.mark.faults,
]

TRIALS = 8
IMAGES = 12
PAGE = f"""
name: retried
space:
  learning_rate: {{type: float, low: 1e-3, high: 1e-2, log: true}}
sweep: {{trials: {TRIALS}, epochs: 40, sampler: random, seed: 1, fused: false}}
promotion: {{finalists: 1}}
scoring: {{feed: "feeds/retried/*.txt", allow_addresses: [127.0.0.0/8], host_rate: }}
"""


def settled(home: Path) -> dict[int, str]:
    """The lease under which each trial was settled, as the ledger of the only study says it."""
    for ledger in home.glob("runs/train_retried/*/study/ledger.db"):
        with sqlite3.connect(ledger) as book, suppress(sqlite3.OperationalError):
            return dict(book.execute("SELECT trial, lease FROM attempts WHERE state = 'settled'").fetchall())
    return {}


def kill_the_driver(script: str, home: Path) -> None:
    """SIGKILL the Python process that drives this home's job."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            program, *rest = process.cmdline() or [""]  # a process that is just ending has none any more
            here = process.environ().get("WINDROW_HOME") == str(home)
            if here and "python" in program and script in " ".join(rest):
                process.kill()
                return
    raise AssertionError(f"no driver of {script} was found")


@pytest.fixture(scope="module")
def home(airflow: Any) -> Path:
    return Path(airflow.environment["WINDROW_HOME"])


@pytest.fixture(scope="module")
def folder(dag_folder: Callable[..., Path]) -> Path:
    return dag_folder(retried=PAGE)


@pytest.fixture(scope="module")
def killed(airflow: Any, folder: Path, home: Path, mlflow_server: str) -> dict[str, Any]:
    """A train run whose sweep was killed once two trials were settled."""
    found: dict[str, Any] = {}

    def start() -> None:
        found["run"] = airflow.run(folder, "train_retried", {}, MLFLOW_TRACKING_URI=mlflow_server)

    thread = threading.Thread(target=start)
    thread.start()
    try:
        wait_for(lambda: len(settled(home)) >= 2 or not thread.is_alive(), seconds=300)
        before = settled(home)
        kill_the_driver("sweep.py", home)
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


@pytest.fixture
def images(digit_images: str, home: Path) -> Iterator[Web]:
    """Some real digits; the driver of the scoring is killed when the first of them is asked for the first time."""
    import requests

    lock, asked = threading.Lock(), Counter[str]()

    def answer(request: Request) -> Reply:
        with lock:
            asked["all"] += 1
            first = asked["all"] == 1
        if first:
            kill_the_driver("score_images.py", home)
        return Reply(body=requests.get(f"{digit_images}{request.path}", timeout=60).content)

    with Web({f"/{number}.png": answer for number in range(IMAGES)}) as web:
        yield web


@pytest.mark.usefixtures("killed")  # whose champion labels
def test_a_scoring_that_was_killed_is_tried_again_and_every_url_has_one_row(
    images: Web, airflow: Any, folder: Path, home: Path, mlflow_server: str
) -> None:
    from deltalake import DeltaTable

    feed = home / "feeds" / "retried" / "urls.txt"
    feed.parent.mkdir(parents=True)
    urls = [f"{images.address}/{number}.png" for number in range(IMAGES)]
    feed.write_text("".join(f"{url}\n" for url in urls))
    run = airflow.run(folder, "score_retried", {}, MLFLOW_TRACKING_URI=mlflow_server)
    assert run.state == "success", run.log[-6000:]
    assert "score_images was killed from outside" in run.log
    assert run.tasks["score_images"]["tries"] == 2
    assert run.tasks["score_images"]["xcoms"]["return_value"]["statuses"] == {"ok": IMAGES}
    assert sorted(DeltaTable(str(home / "tables" / "retried")).to_pandas()["url"]) == sorted(urls)
