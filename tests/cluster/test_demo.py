"""The demo on the Spark cluster tells what the laptop's tells."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import requests

LAPTOP = {
    "trials": 12,
    "outcomes": {"ok": 12},
    "best_value": 0.9861,
    "champion_test_accuracy": 0.9805,
    "urls": 364,
    "rows": 364,
    "labelled": 359,
    "correct": 352,
}
"""What `make demo` finds without a cluster: README.md."""


@pytest.fixture(scope="module")
def summary(demo: str, cluster: Any) -> dict[str, Any]:
    return json.loads(cluster.inside("airflow-scheduler", "cat", "/var/lib/windrow/demo/digits/summary.json"))


def test_the_demo_ends_with_the_same_figures_as_on_a_laptop(summary: dict[str, Any]) -> None:
    found = {key: round(summary[key], 4) if isinstance(summary[key], float) else summary[key] for key in LAPTOP}
    assert found == LAPTOP


def test_the_addresses_that_it_tells_are_a_browsers(demo: str, cluster: Any) -> None:
    assert cluster.airflow.url in demo
    assert cluster.mlflow in demo
    assert not re.search(r"http://(mlflow|airflow-api-server)", demo)


def test_the_sweeps_link_leads_to_a_run_that_a_browser_can_open(cluster: Any, summary: dict[str, Any]) -> None:
    (run,) = cluster.airflow.get("/dags/train_digits/dagRuns")["dag_runs"]
    link = cluster.airflow.result("train_digits", run["dag_run_id"], "sweep")["links"]["mlflow_run"]
    assert link.startswith(f"{cluster.mlflow}/#/experiments/")
    known = requests.get(f"{cluster.mlflow}/api/2.0/mlflow/runs/get", {"run_id": link.rsplit("/", 1)[1]}, timeout=30)
    assert known.json()["run"]["info"]["status"] == "FINISHED"


def test_all_jobs_with_spark_work_ran_on_the_cluster(cluster: Any, summary: dict[str, Any]) -> None:
    """The master remembers every application: none of the jobs with Spark work ran in the driver's own JVM."""
    known = requests.get(f"{cluster.spark}/json/", timeout=10).json()
    names = {application["name"] for application in known["activeapps"] + known["completedapps"]}
    assert {"sweep digits", "promote digits", "score digits"} <= names


def test_a_second_demo_trains_nothing_and_adds_no_row(cluster: Any, summary: dict[str, Any], table: Any) -> None:
    before = len(table())
    cluster.make("demo", "TARGET=docker")
    assert len(table()) == before == LAPTOP["rows"]
    assert len(cluster.airflow.get("/dags/train_digits/dagRuns")["dag_runs"]) == 1
