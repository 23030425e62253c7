"""Who gets what of the Windrow page, asked of its application itself. tests/stack asks the same of a real server."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.airflow


class AuthManager:
    """Airflow's, as far as the page asks it: the reader may read the runs of train_mine, and of no other DAG."""

    def is_authorized_dag(self, *, details: Any, **_: Any) -> bool:
        return bool(details.id == "train_mine")


@pytest.fixture
def app() -> Any:
    import windrow_page_routes
    from airflow import models

    models.import_all_models()  # MLflow, in the same process, has SQLAlchemy link all mapped classes, Airflow's as well
    return windrow_page_routes.make_app()


@pytest.fixture
def reader(app: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The answers to somebody who is logged in, without Airflow's database."""
    from airflow.api_fastapi.core_api.security import get_user
    from airflow.models.dag import DagModel
    from fastapi.testclient import TestClient

    app.dependency_overrides[get_user] = lambda: object()
    monkeypatch.setattr("airflow.api_fastapi.core_api.security.get_auth_manager", AuthManager)
    monkeypatch.setattr(DagModel, "get_team_name", lambda *_: None)
    return TestClient(app)


def test_without_a_login_no_route_of_the_page_gives_anything(app: Any) -> None:
    from fastapi.testclient import TestClient

    stranger = TestClient(app)
    paths = [route.path.format(name="page.js", dag_id="train_mine") for route in app.routes]
    assert len(paths) >= 8
    assert {path: stranger.get(path).status_code for path in paths} == dict.fromkeys(paths, 401)


@pytest.mark.parametrize("part", ["sweeps", "sweep", "champions", "scorings", "labels"])
def test_what_a_dags_runs_have_made_is_shown_to_nobody_who_may_not_read_them(reader: Any, part: str) -> None:
    assert reader.get(f"/api/dags/train_other/{part}").status_code == 403


def test_what_a_dags_runs_have_made_is_shown_to_those_who_may_read_them(reader: Any) -> None:
    assert reader.get("/api/dags/train_mine/sweeps").json() == {"sweeps": []}
