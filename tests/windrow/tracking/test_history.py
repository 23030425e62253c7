"""A model's versions, asked of a server and read from a file: the same, and MLflow's client only for the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from windrow.errors import TrackingError
from windrow.selection.promotion_result import PromotionResult
from windrow.tracking import history, registry
from windrow.tracking.server import connect

pytestmark = pytest.mark.mlflow

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["server", "file"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registry behind a server, or in the embedded file."""
    if request.param == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("mlflow_server"))
    else:
        request.getfixturevalue("registry_file")
    return str(request.param)


def register(
    model: str, decision: str | None = "promoted", before: str | None = None, person: str | None = None
) -> str:
    """A version with its decision, as a promotion writes it."""
    client = connect()
    if not client.search_registered_models(f"name = '{model}'"):
        client.create_registered_model(model)
    run = client.create_run("0").info
    version = str(client.create_model_version(model, f"{run.artifact_uri}/model", run.run_id).version)
    if decision is None:
        return version
    result: dict[str, Any] = {
        **{"model_name": model, "model_version": version, "decision": decision, "reason": f"{decision} because"},
        **{"approval": person, "champion_before": before, "test_accuracy": 0.98, "test_images": 359},
    }
    client.set_model_version_tag(model, version, registry.RESULT, json.dumps(result))
    registry.settle(client, PromotionResult.from_json(result), "words")
    return version


def test_versions_come_newest_first_with_their_aliases_and_decisions(store: str) -> None:
    model, begun = f"digits_{store}", time.time()
    first = register(model)
    second = register(model, before=first)
    register(model, "kept", before=second, person="anna")
    register(model, None)
    found = history.versions(model)
    assert [(version.number, version.aliases) for version in found] == [
        *((4, ()), (3, ("challenger",)), (2, ("champion",)), (1, ("previous",))),
    ]
    assert [version.result and version.result.reason for version in found[:2]] == [None, "kept because"]
    assert [version.approved_by for version in found] == ["", "anna", "", ""]
    assert all(begun - 1 <= version.at <= time.time() for version in found)


def test_of_many_versions_the_newest_are_given(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_MOST_VERSIONS", 3)
    for _ in range(11):  # so that an order by text differs from one by number
        register(f"many_{store}", None)
    assert [version.number for version in history.versions(f"many_{store}")] == [11, 10, 9]


def test_a_model_that_nobody_registered_has_no_versions(store: str) -> None:
    register(f"other_{store}")
    assert history.versions(f"none_{store}") == []


def test_a_name_with_a_quote_is_a_name(store: str) -> None:
    assert history.versions(f"o'brien' OR name LIKE '%{store}") == []


def test_asking_a_server_loads_no_mlflow(mlflow_server: str) -> None:
    script = (
        "import sys; from windrow.tracking import history; history.versions('none'); print('mlflow' in sys.modules)"
    )
    variables = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server, "PYTHONPATH": str(REPOSITORY / "jobs")}
    told = subprocess.run([sys.executable, "-c", script], env=variables, check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "False"


@pytest.mark.timeout(60)  # MLflow's own patience is four minutes
def test_a_server_that_is_away_is_found_out(free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://name:geheim@127.0.0.1:{free_port()}")
    with pytest.raises(TrackingError, match="MLflow must answer") as caught:
        history.versions("digits")
    assert "geheim" not in str(caught.value)


def test_a_server_that_refuses_us_is_one_sentence(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.replace("127.0.0.1", "127.0.0.2"))
    with pytest.raises(TrackingError, match="MLflow must"):
        history.versions("digits")
