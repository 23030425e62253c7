"""A task's TensorFlow sees the GPUs that Spark gave the task, and no others. No GPU is needed: Spark only counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness.jobs import submit_command, submit_environment

JOBS = Path(__file__).resolve().parents[3] / "jobs"

TAKE = """
import json, os, sys, types
from pyspark import TaskContext
from pyspark.resource import ResourceInformation
from windrow.training import runtime

def visible(resources):
    os.environ["CUDA_VISIBLE_DEVICES"] = "as it was"
    if resources is not None:
        TaskContext._getOrCreate()._resources = resources  # as PySpark's worker fills it in
    runtime.take_gpus()
    return os.environ["CUDA_VISIBLE_DEVICES"]

two = {"gpu": ResourceInformation("gpu", ["0", "3"])}
told = [visible(None), visible({}), visible({"fpga": ResourceInformation("fpga", ["1"])}), visible(two)]
sys.modules["tensorflow"] = types.ModuleType("tensorflow")  # imported by an earlier task: too late
print(json.dumps([*told, visible(two)]))
"""


def test_a_tasks_gpus_are_taken_before_tensorflow_is_imported_and_nothing_else_is_touched() -> None:
    environment = {**os.environ, "PYTHONPATH": str(JOBS)}
    done = subprocess.run([sys.executable, "-c", TAKE], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["as it was", "as it was", "as it was", "0,3", "as it was"]


ON_SPARK = """
import os
from windrow.spark import open_session
from windrow.sweep import trial

def work(numbers):
    import time
    trial.start_tensorflow(1)
    time.sleep(2)  # so that the other task gets the other GPU
    return [os.environ["CUDA_VISIBLE_DEVICES"]]

with open_session("gpus") as spark:
    print("seen", *sorted(spark.sparkContext.parallelize(range(2), 2).mapPartitions(work).collect()))
"""


@pytest.mark.faults
@pytest.mark.submit
@pytest.mark.tensorflow
@pytest.mark.usefixtures("cluster_work")
def test_two_tasks_of_an_executor_with_two_gpus_see_one_each(tmp_path: Path) -> None:
    (tmp_path / "find").write_text("""#!/bin/sh\necho '{"name": "gpu", "addresses": ["4", "7"]}'\n""")
    (tmp_path / "find").chmod(0o755)
    (tmp_path / "job.py").write_text(ON_SPARK)
    conf = {
        "spark.executor.memory": "1g",
        "spark.worker.resource.gpu.amount": "2",
        "spark.worker.resource.gpu.discoveryScript": str(tmp_path / "find"),
        "spark.executor.resource.gpu.amount": "2",
        "spark.task.resource.gpu.amount": "1",
    }
    done = subprocess.run(
        submit_command(tmp_path / "job.py", master="local-cluster[1,2,1024]", conf=conf),
        env=submit_environment({"PYTHONPATH": str(JOBS)}),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "seen 4 7" in done.stdout.splitlines()
