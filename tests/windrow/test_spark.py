"""The session: whose it is, what is sent through it, and on a cluster that its slots and its losses are counted."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness.jobs import submit_command, submit_environment
from windrow import spark as sessions
from windrow.errors import SparkError, UserError


def on_a_worker(session: Any, name: str) -> bytes:
    """What a worker finds under a name that a file was sent as."""

    def read(_: Iterable[int]) -> Iterator[bytes]:
        from pyspark import SparkFiles

        return iter([Path(SparkFiles.get(name)).read_bytes()])

    return bytes(session.sparkContext.parallelize([0], 1).mapPartitions(read).collect()[0])


@pytest.mark.spark
def test_a_session_that_is_there_is_used_and_left_running(spark: Any) -> None:
    with sessions.open_session("a job") as used:
        assert used is spark
    assert spark.sparkContext.parallelize([1, 2], 2).sum() == 3


@pytest.mark.spark
def test_a_session_that_gives_a_task_other_cores_is_refused_and_left_running(spark: Any) -> None:
    told = r"a task must get 2 cores, as sweep\.cores says; .* gives 1 .* start it with spark\.task\.cpus=2"
    with pytest.raises(UserError, match=told), sessions.open_session("a job", 2):
        pass
    assert spark.sparkContext.parallelize([1, 2], 2).sum() == 3


@pytest.mark.spark
def test_of_a_link_what_it_leads_to_is_sent_and_a_second_time_nothing(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"contents")
    (tmp_path / "link").symlink_to("file")
    sessions.ship_file(spark, tmp_path / "link", "sent-over-a-link")
    assert on_a_worker(spark, "sent-over-a-link") == b"contents"
    (tmp_path / "link").unlink()
    sessions.ship_file(spark, tmp_path / "link", "sent-over-a-link")
    assert on_a_worker(spark, "sent-over-a-link") == b"contents"


@pytest.mark.spark
def test_bytes_are_sent_under_their_digest_and_a_second_time_nothing(spark: Any) -> None:
    first, again = sessions.ship_bytes(spark, b"a network"), sessions.ship_bytes(spark, b"a network")
    assert first == again != sessions.ship_bytes(spark, b"another network")
    assert spark.sparkContext.parallelize([first], 1).map(sessions.shipped_bytes).collect() == [b"a network"]


def test_two_jobs_at_once_send_the_package_once_and_neither_goes_on_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two threads of a notebook do. One that finds half a zip file would start tasks without the package."""
    real, added = sessions._zip_package, threading.Event()
    zips: list[Path] = []

    def slow(archive: Path) -> None:
        zips.append(archive)
        archive.write_bytes(b"half")
        added.wait(0.2)  # the other one has time to find it
        real(archive)

    monkeypatch.setattr(sessions, "_outbox", lambda: tmp_path)
    monkeypatch.setattr(sessions, "_zip_package", slow)
    session: Any = SimpleNamespace(sparkContext=SimpleNamespace(addPyFile=lambda _: added.set()))
    with ThreadPoolExecutor(2) as jobs:
        done = [jobs.submit(lambda: (sessions.ship_package(session), added.is_set())) for _ in range(2)]
    assert [each.result()[1] for each in done] == [True, True]
    assert len(zips) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["windrow.zip"]


@pytest.mark.spark
def test_a_file_on_another_disk_is_sent_too(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "file").write_bytes(b"from afar")
    sessions.ship_file(spark, tmp_path / "file", "sent-from-another-disk")
    assert on_a_worker(spark, "sent-from-another-disk") == b"from afar"


def test_a_standalone_master_that_is_not_there_is_told_before_spark_asks_it(free_port: Callable[[], int]) -> None:
    first, second = free_port(), free_port()
    with pytest.raises(SparkError, match=rf"must answer; got 127\.0\.0\.1:{first}: .*127\.0\.0\.1:{second}: .*start"):
        sessions._check_master(f"spark://127.0.0.1:{first},127.0.0.1:{second}")


COUNT = """
    print("slots", cluster.slots(spark, 1, None), cluster.slots(spark, 2, None), cluster.slots(spark, 1, 2))
"""
FAIL_ON_ONE = """
    print("found", *sorted(spark.sparkContext.parallelize(range(6), 6).mapPartitions(work).collect()))
"""
JOB = """
import os, time
from windrow.spark import open_session
from windrow.sweep import cluster

def work(numbers):
    if os.path.basename(os.getcwd()) == "0":
        raise OSError(28, "No space left on device")
    time.sleep(2)  # so that the others have no room when it fails
    return numbers

with open_session("counts") as spark:
"""


@pytest.fixture
def told(tmp_path: Path, cluster_work: None) -> Callable[..., list[int]]:
    """The numbers that a job prints on three executors of one core."""

    def run(text: str, **conf: str) -> list[int]:
        script = tmp_path / "job.py"
        script.write_text(JOB + text)
        conf["spark.executor.memory"] = "512m"
        done = subprocess.run(
            submit_command(script, master="local-cluster[3,1,512]", conf=conf),
            env=submit_environment({"PYTHONPATH": str(Path(__file__).parents[2] / "jobs")}),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return [int(number) for number in done.stdout.split() if number.isdecimal()]

    return run


@pytest.mark.faults
@pytest.mark.submit
def test_executors_that_come_one_by_one_are_all_counted_and_one_that_fails_every_task_costs_no_job(
    told: Callable[..., list[int]],
) -> None:
    """Slots for tasks of one core, of two, and where the page wants two at once; then what six tasks gave."""
    assert told(COUNT + FAIL_ON_ONE) == [3, 1, 2, *range(6)]


@pytest.mark.faults
@pytest.mark.submit
def test_executors_that_may_come_are_counted_before_they_do(told: Callable[..., list[int]]) -> None:
    dynamic = {"enabled": "true", "maxExecutors": "6", "shuffleTracking.enabled": "true"}
    conf = {f"spark.dynamicAllocation.{key}": value for key, value in dynamic.items()}
    assert told(COUNT, **conf) == [6, 3, 2]
