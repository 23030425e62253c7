"""A sweep as a group of processes that can be killed one by one, and its books that must agree afterwards."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sqlite3
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness.jobs import JOBS, Finished, submit_command, submit_environment
from harness.waiting import wait_for
from windrow.sweep.cluster import DAEMON

HERE = Path(__file__).parent
ORPHAN_SECONDS = 25.0
"""What is left of a killed driver must be gone by then: Spark's own shutdown takes a few, a busy machine more."""
DAEMONS = {"pyspark.daemon", DAEMON}
"""The modules that fork Python workers."""

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

    def arguments(self, dataset: Path, overrides: Sequence[str] = ()) -> list[object]:
        """The command line of a sweep of it."""
        pairs = [part for override in overrides for part in ("--set", override)]
        return ["--experiment", self.page, "--dataset", dataset, "--study", self.folder, *pairs]

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
                if living and process.environ().get("WINDROW_FAULTS_RUN") == self.mark:
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

    def wait_until_gone(self, kind: str = "") -> None:
        """Wait until nothing of a dead sweep lives any more, or nothing of a kind; fails if something lives on."""
        wait_for(lambda: not self._living(kind), ORPHAN_SECONDS, 0.1, lambda: f"{self._living(kind)}\n{self.tail()}")

    def _living(self, kind: str) -> list[str]:
        left = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                if not kind or _kind_of(process) == kind:
                    left.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
        return left

    def wait_for_settled(self, study: Study, count: int) -> None:
        """Wait until so many trials of the study have ended for good, while this sweep is at work."""

        def enough() -> bool:
            assert self.process.poll() is None, self.tail()
            return len(study.settled()) >= count

        wait_for(enough, 280, otherwise=self.tail)

    def kill(self, kind: str) -> None:
        """SIGKILL to the first process of a kind that there is, or to all of them at once."""
        if kind == "group":
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            wait_for(lambda: any(map(_kill, self.victims().get(kind, [])[:1])), 120, 0.02, self.tail)

    def end(self) -> None:
        """Kill all that is left, process by process."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        self.process.wait(30)

    def tail(self) -> str:
        return self.log.read_text()[-6000:]


def _kill(process: psutil.Process) -> bool:
    """Whether it was there to be killed."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


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
    if DAEMONS & set(command):
        parent = process.parent()
        return "worker" if parent and DAEMONS & set(parent.cmdline()) else ""
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
    """Start a sweep of light trials by spark-submit, or of real ones with script=JOBS / 'sweep.py'."""
    started: list[Driver] = []

    def start(
        study: Study, *overrides: str, master: str = "local[2]", script: Path = HERE / "light_sweep.py", **more: str
    ) -> Driver:
        mark, number = uuid.uuid4().hex, len(started)
        log, result = tmp_path / f"log-{number}", tmp_path / f"result-{number}.json"
        command = submit_command(script, *study.arguments(digits, overrides), "--result", result, master=master)
        environment = submit_environment(
            {
                "PYTHONPATH": str(JOBS),
                "MLFLOW_TRACKING_URI": mlflow_server,
                "WINDROW_FAULTS_RUN": mark,
                "WINDROW_FAULTS_WORK": str(study.work),
                **more,
            }
        )
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
def resume(
    run_job: Callable[..., Finished], digits: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Study], Finished]:
    """Go on with a study of light trials in this process, on the worker's session."""
    from pyspark import cloudpickle

    monkeypatch.syspath_prepend(str(HERE))
    cloudpickle.register_pickle_by_value(importlib.import_module("light_sweep"))  # executors have no such file

    def go_on(study: Study) -> Finished:
        environment = {"MLFLOW_TRACKING_URI": mlflow_server, "WINDROW_FAULTS_WORK": str(study.work)}
        return run_job("light_sweep", *study.arguments(digits), environment=environment)

    return go_on


@pytest.fixture
def check_books(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Study], Counter[str]]:
    """Fails unless the books of a study that has ended agree, and are what its workers did; its endings."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.syspath_prepend(str(HERE))
    return _check


def _check(study: Study) -> Counter[str]:
    from windrow.sweep.audit import audit, read_books
    from windrow.tracking.runs import read_runs

    books = read_books(study.folder)
    assert (books.over, len(books.entries)) == (True, study.trials)
    assert all(entry.told for entry in books.entries)
    said = read_runs(books.identity, whole=True)
    assert said is not None
    assert audit(books, said) == []
    _check_work(study, books)
    _check_values(books.entries)
    return Counter(entry.outcome.ending.value for entry in books.entries if entry.outcome)


def _check_work(study: Study, books: Any) -> None:
    """What was settled before a kill has not changed, and no attempt began or came to its end twice."""
    settled = study.settled()
    for kept in study.kept:
        assert kept.items() <= settled.items(), "what was settled before a kill has changed"
    began, ended = (Counter(lease for *_, lease in study.done(what)) for what in ("began", "ended"))
    assert max(began.values()) == 1, f"an attempt was begun more than once: {began.most_common(3)}"
    assert max(ended.values()) == 1, f"an attempt came to its end more than once: {ended.most_common(3)}"
    known = {(attempt.trial, attempt.number, attempt.lease) for attempt in books.attempts}
    assert {*study.done("began"), *study.done("ended")} <= known
    assert all(ended[entry.outcome.lease] == 1 for entry in books.entries if entry.outcome.value is not None)


def _check_values(entries: Any) -> None:
    """What the ledger counts is what the point gives."""
    epoch_of = importlib.import_module("light_sweep").epoch_of
    for entry in entries:
        outcome = entry.outcome
        wanted = [epoch_of(entry.point, number) for number in range(1, len(outcome.epochs) + 1)]
        assert list(outcome.epochs) == wanted, f"trial {entry.number}, {outcome.ending}"
        assert outcome.value == (wanted[-1].val_accuracy if outcome.ending.value == "ok" else None)
