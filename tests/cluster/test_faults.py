"""Faults of a real cluster in the middle of a sweep and of a scoring: nothing is lost, nothing counts twice.

The workers, the master, Airflow's scheduler and MLflow are containers; what happens to them happens to real machines.
"""

from __future__ import annotations

import re
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

TRIALS = 18
URLS = 12_000
SWEEP = {
    "sweep.trials": TRIALS,
    "sweep.epochs": 100,
    "promotion.finalists": 1,
    "promotion.seeds": 1,
    "promotion.minimum_improvement": 0.9,
}
"""A minute or two on three workers, and no champion at its end that would start a scoring."""


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(autouse=True)
def _whole_again(cluster: Any) -> Iterator[None]:
    """Each test begins with all parts healthy and all workers there, whatever the last one did."""
    yield
    cluster.whole()
    cluster.give_up()


class Sweep:
    """A run of train_digits, and what its sweep left."""

    found: ClassVar[set[tuple[int, float]]] = set()  # best trial and value: whatever happens, the same

    def __init__(self, cluster: Any, mlflow_runs: Callable[[str], list[dict[str, Any]]]) -> None:
        self.cluster, self._runs = cluster, mlflow_runs
        self.run = cluster.start("train_digits", **SWEEP)

    def wait_for(self, trials: int) -> None:
        """Return when the job has told of so many finished trials."""
        self.cluster.wait(lambda: self._told() >= trials, 300, f"{trials} trials to end")

    def _told(self) -> int:
        counts = re.findall(r"\[(\d+)/\d+\]", self.cluster.log("train_digits", self.run, "sweep"))
        return int(counts[-1]) if counts else 0

    def must_be_whole(self) -> dict[str, Any]:
        """Green, every trial once in the ledger and once in MLflow, none of them still running; the sweep's result."""
        ending = self.cluster.end_of("train_digits", self.run)
        result = self.cluster.airflow.result("train_digits", self.run, "sweep")
        assert ending == "success", self.cluster.log("train_digits", self.run, "sweep")[-4000:]
        assert (result["trials"], result["outcomes"]) == (TRIALS, {"ok": TRIALS})
        (parent,) = re.findall(r"runs/([0-9a-f]{32})", result["links"]["mlflow_run"])
        runs = self._runs(parent)
        numbers = Counter(tag["value"] for run in runs for tag in run["data"]["tags"] if tag["key"] == "windrow.trial")
        assert set(numbers.values()) == {1}
        assert len(numbers) == TRIALS
        assert Counter(run["info"]["status"] for run in runs) == {"FINISHED": TRIALS}
        self.found.add((result["best_trial"], result["best_value"]))
        assert len(self.found) == 1
        return result


class Scoring:
    """A run of score_digits over URLs that nobody has seen, and its rows."""

    def __init__(self, cluster: Any, table: Callable[[], list[dict[str, Any]]]) -> None:
        self.cluster, self._table, self.name = cluster, table, uuid.uuid4().hex[:8]
        known = cluster.inside("airflow-scheduler", "cat", "/var/lib/windrow/feeds/digits/demo.txt").split()
        images = [url for url in known if url.endswith(".png") and "/test/" in url and "999999999" not in url]
        self.urls = [f"{images[number % len(images)]}?{self.name}-{number}" for number in range(URLS)]
        feed = f"/var/lib/windrow/feeds/digits/{self.name}.txt"
        cluster.inside("airflow-scheduler", "tee", feed, stdin="\n".join(self.urls) + "\n")
        self.run = cluster.start("score_digits")

    def wait_for(self, rows: int) -> None:
        """Return when the job has told of so many rows."""
        self.cluster.wait(lambda: self._told() >= rows, 300, f"{rows} rows")

    def _told(self) -> int:
        counts = re.findall(r"\[([\d,]+)/[\d,]+\]", self.cluster.log("score_digits", self.run, "score_images"))
        return int(counts[-1].replace(",", "")) if counts else 0

    def must_be_whole(self) -> None:
        """Green, and each URL has its label in exactly one row."""
        ending = self.cluster.end_of("score_digits", self.run)
        assert ending == "success", self.cluster.log("score_digits", self.run, "score_images")[-4000:]
        mine = [row for row in self._table() if self.name in row["url"]]
        assert Counter(row["status"] for row in mine) == {"ok": URLS}
        assert len({row["url"] for row in mine}) == URLS


@pytest.fixture
def sweep(cluster: Any, demo: str, mlflow_runs: Any) -> Sweep:
    return Sweep(cluster, mlflow_runs)


@pytest.fixture
def scoring(cluster: Any, demo: str, table: Any) -> Scoring:
    return Scoring(cluster, table)


def test_a_worker_that_is_killed_in_a_sweep_costs_no_trial(cluster: Any, sweep: Sweep) -> None:
    sweep.wait_for(3)
    docker("kill", cluster.containers("spark-worker")[0])
    sweep.must_be_whole()


def test_a_worker_that_is_killed_in_a_scoring_costs_no_row(cluster: Any, scoring: Scoring) -> None:
    scoring.wait_for(1000)
    docker("kill", cluster.containers("spark-worker")[0])
    scoring.must_be_whole()


def test_a_sweep_outlives_a_master_that_is_stopped_and_started(cluster: Any, sweep: Sweep) -> None:
    sweep.wait_for(3)
    cluster.compose("stop", "spark-master")
    sweep.wait_for(8)
    cluster.compose("start", "spark-master")
    sweep.must_be_whole()


def test_a_sweep_outlives_a_worker_without_a_network_for_a_minute(cluster: Any, sweep: Sweep) -> None:
    sweep.wait_for(3)
    container = cluster.containers("spark-worker")[0]
    address = docker(
        "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container
    ).strip()
    network = f"{cluster.variables['COMPOSE_PROJECT_NAME']}_default"
    docker("network", "disconnect", network, container)
    try:
        subprocess.run(["sleep", "60"], check=True)  # the fault itself lasts a minute
    finally:
        docker("network", "connect", "--ip", address, "--alias", "spark-worker", network, container)
    sweep.must_be_whole()


def test_a_sweep_goes_on_after_airflows_scheduler_was_restarted(cluster: Any, sweep: Sweep) -> None:
    """The driver goes with its container: the task's next attempt goes on where it stopped."""
    sweep.wait_for(3)
    cluster.compose("restart", "airflow-scheduler")
    sweep.must_be_whole()
    (task,) = [task for task in cluster.airflow.tasks("train_digits", sweep.run) if task.name == "sweep"]
    assert task.attempt > 1


def test_a_sweep_outlives_a_restart_of_mlflow(cluster: Any, sweep: Sweep) -> None:
    sweep.wait_for(3)
    cluster.compose("restart", "mlflow")
    sweep.must_be_whole()


def test_a_worker_whose_disk_is_full_holds_up_nothing(cluster: Any, sweep: Sweep) -> None:
    """Neither the sweep that is at work there, nor the promotion that begins when no executor can start there."""
    sweep.wait_for(3)
    container = cluster.containers("spark-worker")[0]
    fill = "dd if=/dev/zero of=/var/lib/spark/full bs=1M 2> /dev/null; ! echo more > /var/lib/spark/more"
    docker("exec", container, "bash", "-c", fill)
    try:
        sweep.must_be_whole()
    finally:
        docker("exec", container, "rm", "-f", "/var/lib/spark/full", "/var/lib/spark/more")
