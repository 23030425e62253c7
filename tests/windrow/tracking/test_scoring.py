"""A scoring in MLflow: one run for each, however often it is told, and whatever it was killed at."""

from __future__ import annotations

from typing import Any

import pytest
from windrow import experiment, tracking

PAGE = "name: shoes\nspace: {units: {type: int, low: 1, high: 2}}\nscoring: {feed: x}\n"
FIGURES = {
    **{"urls": 3, "new": 2, "already_scored": 1, "retried": 1, "rescored": 0, "rows": 3, "images_per_second": None},
    **{"statuses": {"ok": 2, "timeout": 1}, "model_name": "shoes", "model_version": "4", "table": "t"},
    **{"table_version": 7, "scoring": "a1b2"},
}

pytestmark = pytest.mark.mlflow


def runs() -> list[Any]:
    client = tracking.connect()
    found = client.get_experiment_by_name("shoes")
    return list(client.search_runs([found.experiment_id]))


def test_a_scoring_that_is_told_twice_has_one_run() -> None:
    page = experiment.parse(PAGE)
    first = tracking.log_scoring(page, FIGURES)
    assert tracking.log_scoring(page, FIGURES)["run_id"] == first["run_id"]
    tracking.log_scoring(page, {**FIGURES, "scoring": "c3d4"})
    assert len(runs()) == 2
    run = next(run for run in runs() if run.info.run_id == first["run_id"])
    assert run.info.status == "FINISHED"
    assert (run.data.metrics["status_timeout"], run.data.metrics["retried"]) == (1, 1)
    assert run.data.tags["windrow.table_version"] == "7"


def test_a_run_that_was_begun_and_not_ended_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    page = experiment.parse(PAGE)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", lambda *_, **__: exit("killed"))
        with pytest.raises(SystemExit):
            tracking.log_scoring(page, FIGURES)
    assert [run.info.status for run in runs()] == ["RUNNING"]
    tracking.log_scoring(page, FIGURES)
    (run,) = runs()
    assert (run.info.status, run.data.metrics["rows"]) == ("FINISHED", 3)
