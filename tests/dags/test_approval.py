"""A person's word on a champion, and a version again: the real Airflow and MLflow, answered as a browser answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from windrow.laptop import stack
from windrow.laptop.airflow_api import FINISHED, Airflow
from windrow.laptop.stack import Stack
from windrow.paths import home

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.spark,
    pytest.mark.tensorflow,
    pytest.mark.mlflow,
    pytest.mark.stack,
    pytest.mark.timeout(1800),
]

DAG = "train_digits"
QUICK = {"sweep.trials": 2, "sweep.epochs": 2, "promotion.finalists": 1, "promotion.approval": True}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack of make demo, in a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINDROW_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", "host": "local[2]"}))
        try:
            yield stack.up()
        finally:
            stack.stop()


@pytest.fixture(scope="module")
def airflow(running: Stack) -> Airflow:
    airflow = Airflow(running.airflow, stack.USER, running.password)
    airflow.log_in()
    wait_for(lambda: airflow.has_dag(DAG))
    airflow.unpause(DAG)
    return airflow


class Asked:
    """A run that has come to the question, and what the person then saw; `answer` clicks, and waits for the end."""

    def __init__(self, airflow: Airflow, running: Stack, seed: int) -> None:
        self._airflow, self._running = airflow, running
        self.run = airflow.trigger(DAG, {**QUICK, "sweep.seed": seed})
        wait_for(lambda: self.states["approve_champion"] == "awaiting_input" or self._ended())
        assert not self._ended(), self.states
        self.before = aliases(running)
        self.question = requests.get(self._question(), headers=self._login(), timeout=30).json()

    @property
    def states(self) -> dict[str, str | None]:
        return {task.name: task.state for task in self._airflow.tasks(DAG, self.run)}

    def answer(self, option: str) -> Asked:
        """Click. Nobody is as quick as a test: Airflow loses an answer that comes before its scheduler has heard that
        the task is parked, and asks again a minute later."""
        wait_for(self._parked)
        body = {"chosen_options": [option], "params_input": {}}
        response = requests.patch(self._question(), json=body, headers=self._login(), timeout=30)
        assert response.ok, response.text
        wait_for(self._ended)
        self.after = aliases(self._running)
        return self

    def events(self) -> list[dict[str, Any]]:
        """Those of the champion's asset."""
        told = self._airflow.get("/assets/events", source_run_id=self.run)["asset_events"]
        return [event for event in told if event["uri"].startswith("x-mlflow:")]

    def _parked(self) -> bool:
        log = (home() / "log" / "airflow-scheduler.log").read_text()
        heard = (line for line in log.splitlines() if "TaskInstance Finished" in line and self.run in line)
        return any("task_id=approve_champion" in line and "state=awaiting_input" in line for line in heard)

    def _ended(self) -> bool:
        return self._airflow.run_state(DAG, self.run) in FINISHED

    def _question(self) -> str:
        run = requests.utils.quote(self.run, safe="")
        path = f"dags/{DAG}/dagRuns/{run}/taskInstances/approve_champion/-1/hitlDetails"
        return f"{self._running.airflow}/api/v2/{path}"

    def _login(self) -> dict[str, str]:
        login = {"username": stack.USER, "password": self._running.password}
        answer = requests.post(f"{self._running.airflow}/auth/token", json=login, timeout=30)
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.fixture(scope="module")
def rejected(airflow: Airflow, running: Stack) -> Asked:
    """The first training; no champion before."""
    return Asked(airflow, running, seed=1).answer("Reject")


@pytest.fixture(scope="module")
def approved(rejected: Asked, airflow: Airflow, running: Stack) -> Asked:
    """The second training, so version 2."""
    return Asked(airflow, running, seed=2).answer("Approve")


@pytest.fixture(scope="module")
def reproduced(approved: Asked, airflow: Airflow) -> dict[str, Any]:
    """A run that was asked for version 2: its tasks' states, and the result."""
    run = airflow.trigger(DAG, {"reproduce": 2})
    wait_for(lambda: airflow.run_state(DAG, run) in FINISHED)
    states = {task.name: task.state for task in airflow.tasks(DAG, run)}
    return {"states": states, "result": airflow.result(DAG, run, "reproduce")}


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.3)


def aliases(running: Stack) -> dict[str, str]:
    """Alias → version, as the registry has them."""
    answer = requests.get(
        f"{running.mlflow}/api/2.0/mlflow/registered-models/get", params={"name": "digits"}, timeout=30
    )
    return {one["alias"]: one["version"] for one in answer.json()["registered_model"].get("aliases", [])}


def tags(running: Stack, version: str) -> dict[str, str]:
    wanted = {"name": "digits", "version": version}
    answer = requests.get(f"{running.mlflow}/api/2.0/mlflow/model-versions/get", params=wanted, timeout=30)
    return {tag["key"]: tag["value"] for tag in answer.json()["model_version"]["tags"]}


def test_the_person_is_shown_the_evidence_as_a_table_and_where_to_look_further(rejected: Asked, running: Stack) -> None:
    assert rejected.question["subject"] == "digits: may version 1 of digits become its champion?"
    assert rejected.question["options"] == ["Approve", "Reject"]
    head, line, *rows = [text for text in rejected.question["body"].splitlines() if text.startswith("|")]
    assert "test accuracy" in head
    assert set(line) <= set("|-: ")
    assert any("challenger" in row for row in rows)
    assert f"[the version]({running.mlflow}/#/models/digits/versions/1)" in rejected.question["body"]


def test_nothing_moves_before_the_answer(rejected: Asked, approved: Asked) -> None:
    assert rejected.before == {"challenger": "1"}
    assert approved.before == {"challenger": "2"}


def test_a_rejection_leaves_the_champion_and_names_the_person(rejected: Asked, running: Stack) -> None:
    assert rejected.after == {"challenger": "1"}
    assert (tags(running, "1")["windrow.approval"], tags(running, "1")["windrow.approval_by"]) == ("rejected", "admin")


def test_a_rejection_is_a_run_that_ends_well_and_announces_nothing(rejected: Asked) -> None:
    assert rejected.states["record_decision"] == "success"
    assert rejected.states["announce_champion"] == "skipped"
    assert rejected.events() == []


def test_an_approval_makes_the_champion_and_names_the_person(approved: Asked, running: Stack) -> None:
    assert approved.after == {"champion": "2"}
    assert (tags(running, "2")["windrow.approval"], tags(running, "2")["windrow.approval_by"]) == ("approved", "admin")


def test_an_approved_champion_is_announced_once(approved: Asked) -> None:
    [event] = approved.events()
    assert event["uri"] == "x-mlflow://models/digits"
    assert event["extra"]["model_version"] == "2"
    assert "skipped" not in {state for name, state in approved.states.items() if name != "reproduce"}


def test_a_version_is_trained_again_and_nothing_else_is(reproduced: dict[str, Any]) -> None:
    states = reproduced["states"]
    assert states.pop("reproduce") == "success"
    assert set(states.values()) == {"skipped"}
    result = reproduced["result"]
    assert (result["model_name"], str(result["model_version"])) == ("digits", "2")
    assert abs(result["difference"]) < 0.05


def test_reproducing_moves_no_alias(reproduced: dict[str, Any], running: Stack) -> None:
    assert aliases(running) == {"champion": "2"}
