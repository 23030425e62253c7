"""A session on a cluster: slots are counted when executors are there, and one that fails all its tasks costs no job."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.spark

COUNT = """
from windrow.spark import open_session
from windrow.sweep import cluster
with open_session("count") as spark:
    print("slots", cluster.slots(spark, 1, None), cluster.slots(spark, 2, None), cluster.slots(spark, 1, 2))
"""


FULL = """
import os, time
from windrow.spark import open_session

def work(numbers):
    if os.path.basename(os.getcwd()) == "0":
        raise OSError(28, "No space left on device")
    time.sleep(2)  # so that the others have no room when it fails
    return numbers

with open_session("full") as spark:
    print("found", *sorted(spark.sparkContext.parallelize(range(6), 6).mapPartitions(work).collect()))
"""


@pytest.fixture
def told(tmp_path: Path, cluster_work: None) -> Callable[..., list[int]]:
    """The numbers that a job prints on three executors of one core."""

    def run(text: str, *settings: str) -> list[int]:
        script = tmp_path / "job.py"
        script.write_text(text)
        options = [option for setting in settings for option in ("--conf", setting)]
        command = [
            *(str(Path(sys.executable).with_name("spark-submit")), "--master", "local-cluster[3,1,512]"),
            *("--conf", "spark.executor.memory=512m", "--conf", "spark.ui.enabled=false", *options, str(script)),
        ]
        variables = {
            **os.environ,
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": str(Path(__file__).parents[2] / "jobs"),
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        return [int(number) for number in done.stdout.split() if number.isdecimal()]

    return run


def test_executors_that_come_one_by_one_are_all_counted(told: Callable[..., list[int]]) -> None:
    """For tasks of one core, of two, and where the page wants two at once."""
    assert told(COUNT) == [3, 1, 2]


def test_an_executor_that_fails_every_task_at_once_costs_no_job(told: Callable[..., list[int]]) -> None:
    assert told(FULL) == [0, 1, 2, 3, 4, 5]


def test_executors_that_may_come_are_counted_before_they_do(told: Callable[..., list[int]]) -> None:
    settings = ("spark.dynamicAllocation.enabled=true", "spark.dynamicAllocation.maxExecutors=6")
    tracking = "spark.dynamicAllocation.shuffleTracking.enabled=true"
    assert told(COUNT, *settings, tracking) == [6, 3, 2]
