"""The demo in a container knows the stack around it, and says so where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from windrow.containers import compose_demo
from windrow.errors import UserError
from windrow.laptop import demo, demo_summary
from windrow.laptop.demo_request import find
from windrow.laptop.demo_summary import Champion

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


def test_paused_dags_are_not_switched_on_by_the_laptops_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """make airflow would ask the laptop's Airflow."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WINDROW_HOME", str(tmp_path))
    figures = demo_summary.figures({}, {}, Champion("3"), None) | {"paused": ["score_digits"], "seconds": 1.0}
    monkeypatch.setattr(demo, "play", lambda *_: figures)
    compose_demo.run(find("digits", ()), None)  # type: ignore[arg-type]
    assert "or with airflow dags unpause score_digits\n" in capsys.readouterr().out


def test_outside_of_the_stack_it_says_how_to_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIRFLOW_PASSWORD", "secret")
    with pytest.raises(UserError, match=r"got no MLFLOW_TRACKING_URI, .*run it as: make demo TARGET=docker"):
        compose_demo.around()
