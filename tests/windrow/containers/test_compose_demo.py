"""The demo in a container knows the stack around it, and says so where there is none."""

from __future__ import annotations

import pytest
from windrow.containers import compose_demo
from windrow.errors import UserError

VARIABLES = {
    "AIRFLOW_PASSWORD": "secret",
    "MLFLOW_TRACKING_URI": "http://mlflow:5000",
    "WINDROW_AIRFLOW_PAGES": "http://127.0.0.1:9001",
    "WINDROW_MLFLOW_PAGES": "http://127.0.0.1:9002",
}


def test_services_are_asked_by_their_names_and_told_by_a_browsers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    stack = compose_demo.around()
    assert (stack.airflow, stack.mlflow, stack.password) == (compose_demo.AIRFLOW, "http://mlflow:5000", "secret")
    assert (stack.airflow_pages, stack.mlflow_pages) == ("http://127.0.0.1:9001", "http://127.0.0.1:9002")
    assert stack.ended_by == "make down"


def test_outside_of_the_stack_it_says_how_to_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIRFLOW_PASSWORD", "secret")
    with pytest.raises(UserError, match=r"got no MLFLOW_TRACKING_URI, .*run it as: make demo TARGET=docker"):
        compose_demo.around()
