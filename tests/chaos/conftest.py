"""A sweep as a group of processes that can be killed one by one, and the three books that must agree afterwards."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

HERE = Path(__file__).parent
JOBS = HERE.parents[1] / "jobs"
ORPHAN_SECONDS = 25.0
"""What is left of a killed driver must be gone by then: Spark's own shutdown takes a few, a busy machine more."""

LIGHT_PAGE = """
name: {name}
dataset: {{source: digits}}
network: {{builder: dense}}
space:
  learning_rate: {{type: float, low: 1e-4, high: 1e-1, log: true}}
  units: {{type: int, low: 16, high: 128, log: true}}
sweep: {{trials: {trials}, epochs: 8, pruner: {pruner}, sampler: {sampler}, seed: {seed}}}
promotion: {{finalists: 2}}
"""


def _light_sweep() -> Any:
    spec = importlib.util.spec_from_file_location("light_sweep", HERE / "light_sweep.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Study:
    """A study of light trials on disk, and what its workers did.

    `kept` has what was settled at each of the driver's deaths.
    """

    folder: Path
    page: Path
    name: str
    trials: int
    work: Path
    kept: list[dict[int, tuple[str, str]]] = field(default_factory=list)

    def entries(self) -> list[Any]:
        """Every trial as the ledger has it."""
        from windrow.sweep.ledger import Ledger

        ledger = Ledger(self.folder, reading=True)
        try:
            return ledger.entries()
        finally:
            ledger.close()

    def settled(self) -> dict[int, tuple[str, str]]:
        """What the ledger has settled for good, read beside a sweep or after its death: lease and outcome by trial."""
        if not (self.folder / "ledger.db").is_file():
            return {}
        with sqlite3.connect(self.folder / "ledger.db") as book:
            try:
                rows = book.execute("SELECT trial, lease, outcome FROM attempts WHERE state = 'settled'").fetchall()
            except sqlite3.OperationalError:  # killed before the tables were made
                return {}
        return {trial: (lease, text) for trial, lease, text in rows if json.loads(text)["ending"] != "lost"}

    def leases(self) -> list[tuple[int, int, str, str]]:
        """Every attempt: trial, number, lease, state."""
        with sqlite3.connect(self.folder / "ledger.db") as book:
            return book.execute("SELECT trial, attempt, lease, state FROM attempts ORDER BY 1, 2").fetchall()

    def done(self, what: str) -> list[tuple[int, int, str]]:
        """Every attempt that "began" to work, or "ended" its last epoch: trial, number, lease, in order."""
        lines = [line.split() for line in self.work.read_text().splitlines()]
        return [(int(trial), int(attempt), lease) for word, trial, attempt, lease in lines if word == what]


@dataclass
class Driver:
    """A sweep under way, in a process group of its own; all its processes carry `mark` in their environment."""

    process: subprocess.Popen[Any]
    mark: str
    log: Path
    result: Path
    began: float = field(default_factory=time.monotonic)

    def wait(self, seconds: float) -> int | None:
        """The exit code, or None if it still runs after so long."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def processes(self) -> list[psutil.Process]:
        """Everything alive that this sweep started, wherever it hangs by now."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                living = process.status() != psutil.STATUS_ZOMBIE
                if living and process.environ().get("WINDROW_CHAOS_RUN") == self.mark:
                    found.append(process)
        return found

    def victims(self) -> dict[str, list[psutil.Process]]:
        """Processes that can be killed now, by what they are."""
        found: dict[str, list[psutil.Process]] = {}
        for process in self.processes():
            kind = _kind_of(process)
            if kind and (kind != "driver JVM" or process.pid == self.process.pid):  # a JVM forks before it executes
                found.setdefault(kind, []).append(process)
        return found

    def kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait_until_gone(self, kind: str = "") -> float:
        """Seconds until nothing of a dead sweep lived any more, or nothing of a kind; fails if something lives on."""
        begin = time.monotonic()
        while left := [process for process in self.processes() if not kind or _kind_of(process) == kind]:
            if time.monotonic() - begin > ORPHAN_SECONDS:
                told = [f"{process.pid} {' '.join(process.cmdline())[:120]}" for process in left]
                self.end()
                pytest.fail(f"a dead sweep's processes live on after {ORPHAN_SECONDS:.0f} s: {told}\n{self.tail()}")
            time.sleep(0.1)
        return time.monotonic() - begin

    def end(self) -> None:
        """Kill all that is left, process by process."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        self.process.wait(30)

    def tail(self) -> str:
        return self.log.read_text()[-6000:]


def _kind_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return _kind(process)
    return ""  # it has ended


def _kind(process: psutil.Process) -> str:
    command = process.cmdline()
    text = " ".join(command)
    if "CoarseGrainedExecutorBackend" in text:
        return "executor"
    if "org.apache.spark.deploy.SparkSubmit" in text:
        return "driver JVM"
    if "pyspark.daemon" in text:
        parent = process.parent()
        return "worker" if parent and "pyspark.daemon" in " ".join(parent.cmdline()) else ""
    return "driver" if command and "python" in Path(command[0]).name and "sweep.py" in text else ""


@pytest.fixture
def new_study(tmp_path: Path) -> Callable[..., Study]:
    def make(
        name: str, trials: int = 40, pruner: str = "asha", sampler: str = "tpe", seed: int = 1, more: str = ""
    ) -> Study:
        home = tmp_path / name
        home.mkdir()
        (home / "page.yaml").write_text(
            LIGHT_PAGE.format(name=name, trials=trials, pruner=pruner, sampler=sampler, seed=seed) + more
        )
        return Study(home / "study", home / "page.yaml", name, trials, home / "work")

    return make


@pytest.fixture
def launch(tmp_path: Path, digits: Path, mlflow_server: str, cluster_work: None) -> Iterator[Callable[..., Driver]]:
    """Start a sweep of light trials, or of real ones with script=JOBS / 'sweep.py'."""
    started: list[Driver] = []

    def start(
        study: Study, *overrides: str, master: str = "local[2]", script: Path = HERE / "light_sweep.py", **more: str
    ) -> Driver:
        mark, number = uuid.uuid4().hex, len(started)
        log, result = tmp_path / f"log-{number}", tmp_path / f"result-{number}.json"
        command = [
            *(str(Path(sys.executable).with_name("spark-submit")), "--master", master, "--driver-memory", "1g"),
            *("--conf", "spark.ui.enabled=false", str(script), "--experiment", str(study.page)),
            *("--dataset", str(digits), "--study", str(study.folder), "--result", str(result)),
            *(part for override in overrides for part in ("--set", override)),
        ]
        environment = {
            **os.environ,
            "PYTHONPATH": str(JOBS),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MLFLOW_TRACKING_URI": mlflow_server,
            "WINDROW_CHAOS_RUN": mark,
            "WINDROW_CHAOS_WORK": str(study.work),
            **more,
        }
        with log.open("w") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, start_new_session=True, env=environment, cwd=tmp_path
            )
        started.append(Driver(process, mark, log, result))
        return started[-1]

    yield start
    for driver in started:
        driver.end()


@pytest.fixture
def check_books(mlflow_server: str) -> Callable[[Study], Counter[str]]:
    """Fails unless the ledger, Optuna's journal and MLflow say the same of a study that has ended; its endings."""
    return lambda study: _check(study, mlflow_server)


def _check(study: Study, server: str) -> Counter[str]:
    entries = study.entries()
    assert [entry.number for entry in entries] == list(range(study.trials))
    assert all(entry.outcome is not None and entry.told for entry in entries)
    _check_runs_of_trials(study, entries)
    _check_values(entries)
    _check_journal(study, entries)
    _check_mlflow(study, entries, server)
    return Counter(entry.outcome.ending.value for entry in entries)


def _check_runs_of_trials(study: Study, entries: list[Any]) -> None:
    """No attempt follows one that settled its trial, none is open, and each end was come to under its own lease."""
    leases = study.leases()
    assert "open" not in {state for *_, state in leases}
    counted = {entry.number: entry.outcome.lease for entry in entries}
    last = {trial: lease for trial, _, lease, state in leases}
    for entry in entries:
        if entry.outcome.ending.value != "lost":
            assert last[entry.number] == counted[entry.number], f"trial {entry.number} was begun after its end"
    settled = study.settled()
    for kept in study.kept:
        assert kept.items() <= settled.items(), "what was settled before a kill has changed"
    began, ended = (Counter(lease for *_, lease in study.done(what)) for what in ("began", "ended"))
    assert max(began.values()) == 1, f"an attempt was begun more than once: {began.most_common(3)}"
    assert max(ended.values()) == 1, f"an attempt came to its end more than once: {ended.most_common(3)}"
    known = {(trial, attempt, lease) for trial, attempt, lease, _ in leases}
    assert {*study.done("began"), *study.done("ended")} <= known
    assert all(ended[entry.outcome.lease] == 1 for entry in entries if entry.outcome.value is not None)


def _check_values(entries: list[Any]) -> None:
    """What the ledger counts is what the point gives."""
    epoch_of = _light_sweep().epoch_of
    for entry in entries:
        outcome = entry.outcome
        wanted = [epoch_of(entry.point, number) for number in range(1, len(outcome.epochs) + 1)]
        assert list(outcome.epochs) == wanted, f"trial {entry.number}, {outcome.ending}"
        assert outcome.value == (wanted[-1].val_accuracy if outcome.ending.value == "ok" else None)


def _check_journal(study: Study, entries: list[Any]) -> None:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(study.folder / "journal.log")))
    (found,) = storage.get_all_studies()
    trials = {trial.number: trial for trial in storage.get_all_trials(found._study_id)}
    states = {"ok": "COMPLETE", "pruned": "PRUNED", "lost": "FAIL"}
    for entry in entries:
        trial = trials.pop(entry.asked_as)
        if not trial.params:
            continue  # the default configuration, where it lies outside the space: no trial of the sampler's
        assert trial.params == entry.point
        assert trial.state.name == states[entry.outcome.ending.value], f"trial {entry.number}"
        if entry.outcome.value is not None:
            assert trial.value == entry.outcome.value
    assert {trial.state.name for trial in trials.values()} <= {"FAIL"}, "half-drawn points are closed"


def _check_mlflow(study: Study, entries: list[Any], server: str) -> None:
    import mlflow

    client = mlflow.MlflowClient(server, server)
    runs = client.search_runs([client.get_experiment_by_name(study.name).experiment_id], max_results=1000)
    parents = [run for run in runs if run.data.tags["windrow.kind"] == "sweep"]
    children = [run for run in runs if run.data.tags["windrow.kind"] == "trial"]
    assert len(parents) == 1
    assert parents[0].info.status == "FINISHED"
    assert parents[0].data.metrics["trials"] == study.trials
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    by_trial = {int(run.data.tags["windrow.trial"]): run for run in children}
    assert sorted(int(run.data.tags["windrow.trial"]) for run in children) == list(range(study.trials))
    for entry in entries:
        _check_run(client, by_trial[entry.number], entry)


def _check_run(client: Any, run: Any, entry: Any) -> None:
    from windrow.sweep.outcomes import RULES

    outcome, tags = entry.outcome, run.data.tags
    assert run.info.run_id == entry.run_id
    assert run.info.status == RULES[outcome.ending].status
    assert (tags["windrow.ending"], tags["windrow.attempt"]) == (outcome.ending.value, str(outcome.attempt))
    assert {name: run.data.params[name] for name in entry.point} == {k: str(v) for k, v in entry.point.items()}
    for name in ("loss", "val_loss", "val_accuracy"):
        history = client.get_metric_history(run.info.run_id, name)
        told = [(metric.step, metric.value) for metric in sorted(history, key=lambda metric: metric.step)]
        wanted = [(step, epoch.metrics()[name]) for step, epoch in enumerate(outcome.epochs, start=1)]
        assert told == wanted, f"trial {entry.number}'s {name} in MLflow"
    if outcome.value is not None:
        assert run.data.metrics["val_accuracy"] == outcome.value
