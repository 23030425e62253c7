"""The champion's history for the page: from a real registry, and in a sentence where there is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness.web import Web
from windrow.errors import AbsentError
from windrow.selection.promotion_result import PromotionResult
from windrow.tracking import registry
from windrow.tracking.server import connect
from windrow.ui.champions import Registry

pytestmark = pytest.mark.mlflow

RESULT = {
    **{"model_name": "crowned", "model_version": "1", "decision": "promoted", "reason": "promoted: no champion"},
    **{"approval": None, "champion_before": None, "test_accuracy": 0.98, "test_images": 359, "trial": 5},
    "baseline": 0.125,
    "figures": {"challenger": {"interval": {"low": 0.96, "high": 0.99}}},
    "metrics": {
        **{"macro_f1": 0.97, "ece": 0.01},
        "classes": [
            {"label": name, "images": 9, "predicted": 9, "precision": 0.9, "recall": recall, "f1": 0.9}
            for name, recall in (("cat", 1.0), ("dog", 0.8), ("bird", None))
        ],
    },
}


def register(model: str) -> Any:
    """A version of a new model; the client."""
    client = connect()
    client.create_registered_model(model)
    run = client.create_run("0").info
    client.create_model_version(model, f"{run.artifact_uri}/model", run.run_id)
    return client


def test_a_version_is_shown_with_its_accuracy_its_interval_and_why(
    mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    client = register("crowned")
    client.set_model_version_tag("crowned", "1", registry.RESULT, json.dumps(RESULT))
    registry.settle(client, PromotionResult.from_json(RESULT), "words")
    client.set_model_version_tag("crowned", "1", registry.CHOSEN_BY, "ada")
    shown = Registry().show("crowned", "train_crowned")
    (version,) = shown["versions"]
    assert (version["version"], version["aliases"], version["interval"]) == (1, ("champion",), [0.96, 0.99])
    assert (version["reason"], version["trial"], version["test_accuracy"]) == ("promoted: no champion", 5, 0.98)
    assert version["baseline"] == 0.125
    assert (version["macro_f1"], version["worst"]) == (0.97, ("dog", 0.8))
    assert (version["approved_by"], version["chosen_by"]) == ("", "ada")


def test_a_version_without_a_decision_is_shown_as_such(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    register("undecided")
    (version,) = Registry().show("undecided", "train_undecided")["versions"]
    assert (version["reason"], version["test_accuracy"]) == ("Nothing is decided about it yet.", None)
    assert version["baseline"] is None
    assert (version["macro_f1"], version["worst"]) == (None, None)


def test_before_the_first_version_it_is_said_what_to_trigger(
    mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    with pytest.raises(AbsentError, match=r"No version of shoes is registered yet\. Trigger train_shoes"):
        Registry().show("shoes", "train_shoes")


def test_where_mlflow_is_away_it_is_one_sentence_without_its_address_and_not_asked_a_second_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Web(otherwise=500) as nobody:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody.address)
        asked = Registry()
        with pytest.raises(AbsentError, match="MLflow does not answer") as caught:
            asked.show("digits", "train_digits")
        assert "127.0.0.1" not in str(caught.value)
        before = len(nobody.requests)
        assert before
        with pytest.raises(AbsentError):
            asked.show("digits", "train_digits")
        assert len(nobody.requests) == before
