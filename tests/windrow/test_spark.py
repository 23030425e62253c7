"""Slots are counted when the executors of a cluster are there, and dynamic allocation's are counted before."""

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


@pytest.fixture
def counted(tmp_path: Path, cluster_work: None) -> Callable[..., list[int]]:
    """What a job counts: slots for tasks of one core, of two cores, and where the page wants two."""

    def run(*settings: str) -> list[int]:
        script = tmp_path / "count.py"
        script.write_text(COUNT)
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
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("slots")] or [done.stderr[-3000:]]
        return [int(number) for number in line.split()[1:]]

    return run


def test_executors_that_come_one_by_one_are_all_counted(counted: Callable[..., list[int]]) -> None:
    assert counted() == [3, 1, 2]


def test_executors_that_may_come_are_counted_before_they_do(counted: Callable[..., list[int]]) -> None:
    settings = ("spark.dynamicAllocation.enabled=true", "spark.dynamicAllocation.maxExecutors=6")
    tracking = "spark.dynamicAllocation.shuffleTracking.enabled=true"
    assert counted(*settings, tracking) == [6, 3, 2]
