from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from harness.web import Web
from windrow import experiment
from windrow.errors import TrackingError, UserError
from windrow.tracking import models, server
from windrow.tracking.models import fetch_model
from windrow.tracking.server import connect, uri


def test_a_server_that_is_down_is_found_out(free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own patience is four minutes, longer than this test may take."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TrackingError, match=r"MLflow must answer at MLFLOW_TRACKING_URI; .* start it, or correct"):
        connect()


@pytest.mark.parametrize(
    ("status", "told"), [(403, "refused us .403.; list this host"), (500, "answered 500; look at its log")]
)
def test_a_server_that_is_healthy_but_refuses_is_told_from_one_that_works(
    monkeypatch: pytest.MonkeyPatch, status: int, told: str
) -> None:
    with Web({"/health": 200}, otherwise=status) as web:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", web.address)
        with pytest.raises(TrackingError, match=told):
            connect()
        assert len(web.requests) == 1, "what refuses is not asked again"


def test_without_a_server_everything_is_kept_under_the_home(tmp_path: Path) -> None:
    assert uri() == f"sqlite:///{(tmp_path / 'home').resolve()}/mlflow/mlflow.db"


@pytest.mark.parametrize("wrong", ["digits", "models:/digits", "runs:/1/model", "digits@champion"])
def test_a_model_that_is_not_named_as_one_is_refused_without_asking(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windrow.tracking.models.connect", lambda: None)
    with pytest.raises(UserError, match="must be named as models:/NAME@ALIAS or models:/NAME/VERSION; got"):
        fetch_model(wrong, tmp_path)


@pytest.mark.mlflow
@pytest.mark.parametrize("absent", ["models:/nobody@champion", "models:/nobody/3"])
def test_a_model_that_is_not_registered_is_told_with_its_cure(
    absent: str, tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    with pytest.raises(UserError, match=r"must be in the registry; it is not; run the train DAG"):
        fetch_model(absent, tmp_path)


@pytest.mark.mlflow
def test_the_version_that_labels_is_asked_of_a_server_without_its_client(
    mlflow_server: str, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    scoring = "scoring: {feed: x}\n"
    page = experiment.parse(f"name: asked\nspace: {{units: {{type: int, low: 1, high: 2}}}}\n{scoring}")
    with pytest.raises(UserError, match="run the train DAG"):
        models.current(page)
    client = connect()
    client.create_registered_model("asked")
    for _ in range(2):
        client.create_model_version("asked", "s3://nowhere/model")
    client.set_registered_model_alias("asked", "champion", "2")
    with monkeypatch.context() as patch:
        patch.setattr(models, "connect", lambda: pytest.fail("the client was imported"))
        assert models.current(page) == ("asked", "2")
        pinned = experiment.parse("name: pinned\nscoring: {feed: x, model: models:/asked/1}\n")
        assert models.current(pinned) == ("asked", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TrackingError, match="start it, or correct the address"):
        models.current(page)


def test_links_are_a_browsers_where_jobs_know_the_server_by_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("WINDROW_MLFLOW_PAGES", "http://127.0.0.1:9002/")
    assert server.run_link("3", "a") == {"mlflow_run": "http://127.0.0.1:9002/#/experiments/3/runs/a"}
    assert server.version_link("m", "1") == {"model_version": "http://127.0.0.1:9002/#/models/m/versions/1"}
    assert server.uri() == "http://mlflow:5000"


def test_runs_are_compared_on_a_page_of_the_server_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://m:5000/")
    address = server.compare_link("3", ["a", "b"])["compare"]
    assert address.startswith("http://m:5000/#/compare-runs?")
    asked = parse_qs(address.partition("?")[2])
    assert {key: json.loads(value) for key, [value] in asked.items()} == {"runs": ["a", "b"], "experiments": ["3"]}
    assert server.compare_link("3", ["a"]) == {}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///m.db")
    assert server.compare_link("3", ["a", "b"]) == {}
