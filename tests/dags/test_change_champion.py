"""A person changes a champion in a real Airflow, by the real job, in a real registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.submit, pytest.mark.mlflow, pytest.mark.faults]

MODEL = "changed"
RESULT = {
    **{"model_name": MODEL, "reason": "promoted", "approval": None, "champion_before": None, "links": {}},
    **{"trial": 1, "point": {}, "objective": "val_accuracy", "val_accuracy": 0.5, "seeds": 1},
    **{"test_images": 9, "evidence": ""},
}


def test_a_version_of_a_persons_choice_becomes_champion_and_a_rollback_takes_it_back_each_with_its_event(
    airflow: Any, dag_folder: Callable[..., Path], client: Any, mlflow_server: str
) -> None:
    client.create_registered_model(MODEL)
    for number, decision in (("1", "kept"), ("2", "promoted")):
        trained = client.create_run("0").info
        client.create_model_version(MODEL, f"{trained.artifact_uri}/model", trained.run_id)
        result = {**RESULT, "model_version": number, "decision": decision, "promoted": decision == "promoted"}
        client.set_model_version_tag(MODEL, number, "windrow.result", json.dumps(result))
    client.set_registered_model_alias(MODEL, "champion", "2")
    folder = dag_folder(
        changed=f"name: {MODEL}\nspace: {{units: {{type: int, low: 1, high: 2}}}}\nscoring: {{feed: x}}\n"
    )

    form = {"page": MODEL, "action": "promote", "version": 1}
    run = airflow.run(folder, "change_champion", form, MLFLOW_TRACKING_URI=mlflow_server)

    assert run.state == "success", run.log[-4000:]
    aliases = client.get_registered_model(MODEL).aliases
    assert {alias: str(number) for alias, number in aliases.items()} == {"champion": "1", "previous": "2"}
    assert client.get_model_version(MODEL, "1").tags["windrow.chosen_by"]
    [event] = run.events
    assert (event["asset"], event["extra"]["model_version"]) == (f"x-mlflow://models/{MODEL}", "1")

    back = airflow.run(
        folder, "change_champion", {"page": MODEL, "action": "rollback"}, MLFLOW_TRACKING_URI=mlflow_server
    )

    assert back.state == "success", back.log[-4000:]
    aliases = client.get_registered_model(MODEL).aliases
    assert {alias: str(number) for alias, number in aliases.items()} == {"champion": "2", "previous": "1"}
    [event] = back.events
    assert (event["asset"], event["extra"]["model_version"]) == (f"x-mlflow://models/{MODEL}", "2")
