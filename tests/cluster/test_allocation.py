"""Executors that come when there is work and go when there is none, and stages with resources of their own."""

from __future__ import annotations

import json
from typing import Any

SETTINGS = {
    "spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.enabled": "true",
    "spark.dynamicAllocation.maxExecutors": "3",
    "spark.dynamicAllocation.executorIdleTimeout": "3s",
    "spark.driver.memory": "512m",
    "spark.executor.memory": "512m",
}
HOME = "/var/lib/windrow/allocation"
PAGE = ("--experiment", "/opt/windrow/dags/experiments/digits.yaml")

DRIVER = """
import json, socket, time
from pyspark.resource import ExecutorResourceRequests, ResourceProfileBuilder, TaskResourceRequests
from pyspark.sql import SparkSession

context = SparkSession.builder.appName("allocation").getOrCreate().sparkContext

def executors():
    return context._jsc.sc().getExecutorMemoryStatus().size() - 1

def until(count):
    end = time.monotonic() + 120
    while executors() != count:
        assert time.monotonic() < end, (count, executors())
        time.sleep(0.2)
    return executors()

def host(_):
    time.sleep(5)
    yield socket.gethostname()

def hosts(rdd):
    return len(set(rdd.mapPartitions(host).collect()))

tasks = context.parallelize(range(9), 9)
seen = {"at work": hosts(tasks), "idle": until(0)}
own = ResourceProfileBuilder().require(ExecutorResourceRequests().cores(1).memory("480m"))
own = own.require(TaskResourceRequests().cpus(1)).build
seen |= {"with resources of their own": hosts(tasks.withResources(own)), "idle again": until(0)}
print("seen", json.dumps(seen))
"""


def submit(cluster: Any, *command: str, stdin: str = "") -> str:
    """What a driver prints that runs where Airflow's tasks run."""
    settings = [part for key, value in SETTINGS.items() for part in ("--conf", f"{key}={value}")]
    submitted = ["spark-submit", "--master", "spark://spark-master:7077", *settings, *command]
    return cluster.inside("airflow-scheduler", *submitted, stdin=stdin)


def test_executors_come_and_go_with_the_work_and_a_stage_can_ask_for_others(cluster: Any) -> None:
    cluster.inside("airflow-scheduler", "tee", "/tmp/allocation.py", stdin=DRIVER)
    (seen,) = [line for line in submit(cluster, "/tmp/allocation.py").splitlines() if line.startswith("seen ")]
    found = json.loads(seen.removeprefix("seen "))
    assert found["at work"] > 1
    assert found["with resources of their own"] > 1
    assert (found["idle"], found["idle again"]) == (0, 0)


def test_a_sweep_and_its_slots_are_those_that_may_come(cluster: Any) -> None:
    job = "/opt/windrow/jobs"
    cluster.inside("airflow-scheduler", "rm", "-rf", HOME)
    submit(cluster, f"{job}/prepare_dataset.py", *PAGE, "--out", f"{HOME}/dataset")
    sweep = ("--dataset", f"{HOME}/dataset", "--study", f"{HOME}/study", "--result", f"{HOME}/result.json")
    submit(cluster, f"{job}/sweep.py", *PAGE, *sweep, "--set", "sweep.trials=6", "--set", "sweep.epochs=5")
    result = json.loads(cluster.inside("airflow-scheduler", "cat", f"{HOME}/result.json"))
    assert (result["outcomes"], result["slots"]) == ({"ok": 6}, 3)
