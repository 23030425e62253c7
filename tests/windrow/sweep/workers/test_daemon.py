"""The process that forks workers: it has TensorFlow and no thread, and does not outlive Spark."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from windrow import spark as sessions
from windrow.spark import TASK_CORES
from windrow.sweep.cluster import DAEMON

JOBS = Path(__file__).resolve().parents[4] / "jobs"

PREPARED = """
import os, threading
from windrow.sweep.workers import daemon

daemon.prepare()
from pathlib import Path
from tensorflow.python.eager import context

names = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
print(threading.active_count(), context.context_safe(), sorted(names - {"python", "jemalloc_bg_thd"}))
print(os.environ["TF_NUM_INTRAOP_THREADS"])
"""
"""jemalloc, which pyarrow brings, stops its thread before a fork and starts it afterwards."""


@pytest.mark.tensorflow
def test_the_process_that_forks_has_neither_a_thread_nor_a_device() -> None:
    command = [str(Path(sys.executable).with_name("python")), "-c", PREPARED]
    environment = {**os.environ, "PYTHONPATH": str(JOBS), "OMP_NUM_THREADS": "4,2", TASK_CORES: "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1 None []", "3"]


def test_the_process_that_forks_ends_when_spark_does_even_while_it_imports() -> None:
    slow = f"import time; from {DAEMON.rpartition('.')[0]} import daemon\n"
    slow += "daemon.prepare = lambda: time.sleep(50)\ndaemon.main()\n"
    environment = {**os.environ, "PYTHONPATH": str(JOBS)}
    with subprocess.Popen([sys.executable, "-c", slow], env=environment, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 1


def state(_: Iterable[int]) -> Iterator[tuple[int, bool]]:
    return iter([(os.getpid(), "tensorflow" in sys.modules)])


def die(_: Iterable[int]) -> Iterator[int]:
    os.kill(os.getpid(), signal.SIGKILL)
    return iter([])


@pytest.mark.spark
@pytest.mark.tensorflow
def test_a_worker_that_replaces_a_lost_one_has_tensorflow(spark: Any) -> None:
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers can't import a test
    lost = spark.sparkContext.parallelize([0, 1], 2).mapPartitions(state).collect()
    with pytest.raises(Exception, match="crashed"):
        spark.sparkContext.parallelize([0, 1], 2).mapPartitions(die).collect()
    found = spark.sparkContext.parallelize([0, 1], 2).mapPartitions(state).collect()
    assert not {process for process, _ in found} & {process for process, _ in lost}
    assert all(has for _, has in found)


@pytest.mark.parametrize(
    ("conf", "own"),
    [
        ({"spark.master": "local[2]"}, True),
        ({"spark.master": "local"}, True),
        ({"spark.master": "local-cluster[2,1,1024]"}, False),
        ({"spark.master": "spark://host:7077"}, False),
        ({"spark.master": "local[2]", "spark.task.resource.gpu.amount": "1"}, False),
        ({"spark.master": "local[2]", "spark.executorEnv.PYTHONPATH": "/data"}, False),
        ({"spark.master": "local[2]", "spark.python.daemon.module": "mine"}, False),
    ],
)
def test_workers_are_forked_from_a_process_with_tensorflow_in_local_mode_unless_they_get_gpus(
    conf: dict[str, str], own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert sessions._may_preload(Settings(conf)) is own  # type: ignore[arg-type]


class Settings(dict[str, str]):
    """A SparkConf, which would need a JVM."""

    def contains(self, key: str) -> bool:
        return key in self
