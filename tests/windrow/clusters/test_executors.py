"""A cluster that offers no executor: a sentence, then an end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness.jobs import submit_command, submit_environment
from harness.waiting import wait_for
from windrow.clusters import executors
from windrow.errors import SparkError
from windrow.experiment import Experiment


def cluster(count: Callable[[], int], *, jobs: Callable[[], list[int]] = list, **conf: str) -> Any:
    """What executors.py asks of a session: its master, its executors (and the driver), its running jobs."""
    stopped = threading.Event()
    java = SimpleNamespace(getExecutorMemoryStatus=lambda: SimpleNamespace(size=lambda: count() + 1), stop=stopped.set)
    context = SimpleNamespace(
        master="spark://a.example:7077",
        getConf=lambda: SimpleNamespace(get=conf.get),
        statusTracker=lambda: SimpleNamespace(getActiveJobsIds=jobs),
        _jsc=SimpleNamespace(sc=lambda: java),
    )
    return SimpleNamespace(sparkContext=context, stopped=stopped)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "_NO_MORE_SECONDS", 0.05)
    monkeypatch.setattr(executors, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(executors, "_WORD_SECONDS", 0.02)


def test_a_cluster_that_offers_none_is_waited_for_within_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        SparkError, match=r"an executor within 0\.001 min \(cluster_minutes\); .* raise cluster_minutes"
    ):
        executors.await_some(cluster(lambda: 0), 0.001)
    assert capsys.readouterr().err.count("waiting until the cluster has room") == 1


def test_executors_that_come_one_by_one_are_waited_for() -> None:
    came = iter([0, 0, 1, 1, 2, 3])
    last = [0]

    def count() -> int:
        last.append(next(came, 3))
        return last[-1]

    executors.await_some(cluster(count), 1)
    assert last[-1] == 3


@pytest.mark.parametrize(
    ("master", "dynamic"),
    [("local[2]", "false"), ("local", "false"), ("yarn", "true"), ("yarn", "True"), ("k8s://https://a:443", " TRUE ")],
)
def test_where_none_is_awaited_nothing_is(master: str, dynamic: str) -> None:
    session = cluster(lambda: 0, **{"spark.dynamicAllocation.enabled": dynamic})
    session.sparkContext.master = master
    executors.await_some(session, 1e-9)


def test_jobs_that_wait_without_executors_are_stopped() -> None:
    session = cluster(lambda: 0, jobs=lambda: [7])

    def job() -> None:
        with executors.watched(session, 0.001):
            assert session.stopped.wait(20)
            raise RuntimeError("Job 7 cancelled because SparkContext was shut down")

    with pytest.raises(SparkError, match="cluster_minutes") as caught:
        job()
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(("count", "jobs"), [(1, [7]), (0, [])], ids=["executors", "no jobs"])
def test_a_session_that_waits_for_nothing_goes_on(count: int, jobs: list[int]) -> None:
    asked = []

    def look() -> int:
        asked.append(1)
        return count

    session = cluster(look, jobs=lambda: jobs)

    def job() -> None:
        with executors.watched(session, 0.0005):
            wait_for(lambda: len(asked) > 10)
            raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match="of its own"):
        job()
    assert not session.stopped.is_set()


def test_a_limit_counts_from_the_last_executor(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    limit = executors._Limit(10, lambda: now)
    over = []
    for now, waits in [(0, True), (500, True), (590, False), (600, True), (1190, True), (1200, True)]:  # noqa: B007
        over.append(limit.is_over(waits=waits))
    assert over == [False, False, False, False, False, True]
    assert capsys.readouterr().err.count("no executor") == 1


def test_the_default_of_the_page_is_the_sessions() -> None:
    assert Experiment(name="a").cluster_minutes == executors.MINUTES


@pytest.fixture
def empty_master(free_port: Callable[[], int], tmp_path: Path) -> Iterator[str]:
    """A standalone master that no worker has joined."""
    import pyspark

    port = free_port()
    jars = str(Path(pyspark.__file__).parent / "jars" / "*")
    place = ("--host", "127.0.0.1", "--port", str(port), "--webui-port", str(free_port()))
    with (tmp_path / "master.log").open("wb") as log:
        process = subprocess.Popen(
            ["java", "-cp", jars, "org.apache.spark.deploy.master.Master", *place], stdout=log, stderr=log
        )
    try:
        master = f"spark://127.0.0.1:{port}"
        from windrow.spark import unreachable_masters

        wait_for(lambda: unreachable_masters(master) is None)
        yield master
    finally:
        process.kill()
        process.wait()


JOB = """
import sys
from pyspark import SparkContext
from pyspark.sql import SparkSession
from windrow.clusters import executors
from windrow.errors import SparkError
from windrow.spark import open_session

executors._WORD_SECONDS = 1
if "notebook" in sys.argv:
    SparkSession.builder.getOrCreate()
try:
    with open_session("waits", minutes=0.1) as spark:
        print("opened", spark.range(3).count())
except SparkError as error:
    print(error, "|", SparkContext._active_spark_context)
    sys.exit(error.exit_code)
"""


@pytest.mark.faults
@pytest.mark.submit
@pytest.mark.parametrize(("dynamic", "place"), [("false", "job"), ("true", "notebook")])
def test_a_real_cluster_without_workers_ends_a_job(empty_master: str, tmp_path: Path, dynamic: str, place: str) -> None:
    """In a notebook the session is there before, and another one can be opened after it."""
    (tmp_path / "job.py").write_text(JOB)
    conf = {"spark.dynamicAllocation.enabled": dynamic, "spark.dynamicAllocation.shuffleTracking.enabled": "true"}
    started = time.monotonic()
    done = subprocess.run(
        submit_command(tmp_path / "job.py", place, master=empty_master, conf=conf),
        env=submit_environment(
            {"PYTHONPATH": str(Path(executors.__file__).parents[2]), "PYSPARK_PYTHON": sys.executable}
        ),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr[-3000:]
    assert "the cluster must offer an executor within 0.1 min (cluster_minutes); it offered none" in done.stdout
    assert done.stdout.rstrip().endswith("| None")
    assert "waiting until the cluster has room" in done.stdout  # where spark-submit prints all that a job prints
    assert time.monotonic() - started >= 6
