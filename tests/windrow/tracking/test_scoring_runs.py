"""A scoring run in MLflow: one run for each, however often it is logged, and whatever it was killed at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from windrow import experiment
from windrow.scoring.report.figures import Figures, Truth
from windrow.scoring.report.result import CommittedRun
from windrow.tracking.scoring_runs import log_scoring
from windrow.tracking.server import connect

PAGE = "name: shoes\nspace: {units: {type: int, low: 1, high: 2}}\nscoring: {feed: x}\n"
FIGURES = {
    **{"urls": 3, "new": 2, "already_scored": 1, "retried": 1, "rescored": 0, "rows": 3, "images_per_second": None},
    **{"statuses": {"ok": 2, "timeout": 1}, "model_name": "shoes", "model_version": "4", "table": "t"},
    **{"table_version": 7, "scoring": "a1b2"},
}

pytestmark = [pytest.mark.mlflow, pytest.mark.usefixtures("registry_file")]


def run_of(**more: Any) -> CommittedRun:
    return CommittedRun.from_json(FIGURES | more)


def runs() -> list[Any]:
    client = connect()
    found = client.get_experiment_by_name("shoes")
    return list(client.search_runs([found.experiment_id]))


def test_a_scoring_run_that_is_logged_twice_has_one_run() -> None:
    page = experiment.parse(PAGE)
    first = log_scoring(page, run_of())
    assert log_scoring(page, run_of())["run_id"] == first["run_id"]
    log_scoring(page, run_of(scoring="c3d4"))
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
            log_scoring(page, run_of())
    assert [run.info.status for run in runs()] == ["RUNNING"]
    log_scoring(page, run_of())
    (run,) = runs()
    assert (run.info.status, run.data.metrics["rows"]) == ("FINISHED", 3)


def artifact(run: Any, name: str) -> str:
    import mlflow

    return str(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{name}"))


def test_figures_are_metrics_and_a_file_and_the_gallery_is_beside_them(tmp_path: Path) -> None:
    gallery = tmp_path / "gallery.html"
    gallery.write_text("<!doctype html>")
    more: dict[str, Any] = {
        "p95_fetch_ms": 12.5,
        "share_of_ceiling": 0.5,
        "psi_labels": 0.02,
        "psi_scores": None,
        "scores": [0, 2],
    }
    more["drift"] = {"runs": 1, "images": 300, "moved": None, "reason": ""}
    log_scoring(experiment.parse(PAGE), run_of(**more), "- two lines\n- of words", gallery)
    (run,) = runs()
    metrics = run.data.metrics
    assert (metrics["p95_fetch_ms"], metrics["share_of_ceiling"], metrics["psi_labels"]) == (12.5, 0.5, 0.02)
    assert "psi_scores" not in metrics
    assert run.data.tags["mlflow.note.content"] == "- two lines\n- of words"
    assert json.loads(artifact(run, "figures.json"))["scores"] == [0, 2]
    assert artifact(run, "gallery.html") == "<!doctype html>"


def test_the_accuracy_by_the_feeds_true_classes_is_a_metric_with_its_interval() -> None:
    truth = Truth("class", 200, 174, 0.8161, 0.9099, 0.35, 0.8612, 3, ("horse",))
    log_scoring(experiment.parse(PAGE), CommittedRun("a1", "t", 1, Figures(rows=200, truth=truth)))
    (run,) = runs()
    names = ("accuracy", "macro_f1", "truth.low", "truth.high", "truth.baseline", "truth.unknown")
    assert [run.data.metrics[name] for name in names] == [0.87, 0.8612, 0.8161, 0.9099, 0.35, 3]
    log_scoring(experiment.parse(PAGE), CommittedRun("a2", "t", 2, Figures(rows=9, truth=Truth("class"))))
    assert "accuracy" not in next(run for run in runs() if run.data.metrics["rows"] == 9).data.metrics


def test_a_gallery_that_is_gone_holds_nothing_up(tmp_path: Path) -> None:
    log_scoring(experiment.parse(PAGE), run_of(), gallery=tmp_path / "gone" / "gallery.html")
    assert [run.info.status for run in runs()] == ["FINISHED"]


def test_a_withheld_run_has_failed_until_it_is_logged_again_as_committed() -> None:
    page = experiment.parse(PAGE)
    log_scoring(page, run_of(), "withheld", withheld=True)
    (run,) = runs()
    assert (run.info.status, run.data.tags["windrow.withheld"]) == ("FAILED", "true")
    log_scoring(page, run_of(table_version=8), "accepted")
    (run,) = runs()
    assert (run.info.status, run.data.tags["windrow.withheld"]) == ("FINISHED", "false")
    assert (run.data.tags["windrow.table_version"], run.data.tags["mlflow.note.content"]) == ("8", "accepted")


def test_a_scoring_run_has_its_real_times_its_feed_and_the_version_that_labelled() -> None:
    client = connect()
    labelled_by = client.create_logged_model(client.create_experiment("shoes"), name="shoes")
    client.create_registered_model("shoes")
    client.create_model_version("shoes", f"models:/{labelled_by.model_id}")
    more = {"model_version": "1", "feed": "feeds/*.txt", "started_at": 1000.25, "ended_at": 1090.5}
    for _ in range(2):  # a repeated call adds nothing
        log_scoring(experiment.parse(PAGE), run_of(**more), "- words")
    (found,) = runs()
    run = client.get_run(found.info.run_id)  # a search leaves out inputs that are models
    assert (run.info.start_time, run.info.end_time) == (1_000_250, 1_090_500)
    (feed,) = run.inputs.dataset_inputs
    assert (feed.dataset.name, json.loads(feed.dataset.source)["feed"]) == ("shoes feed", "feeds/*.txt")
    assert [used.model_id for used in run.inputs.model_inputs] == [labelled_by.model_id]
    assert run.data.tags["mlflow.note.content"].endswith("Labelled by [shoes version 1](#/models/shoes/versions/1).")


@pytest.mark.parametrize("version", ["", "5f3a9c", "7"])
def test_a_network_that_is_no_registered_version_is_no_input(version: str) -> None:
    client = connect()
    log_scoring(experiment.parse(PAGE), run_of(model_version=version), "- words")
    (found,) = runs()
    run = client.get_run(found.info.run_id)
    assert run.inputs.model_inputs == []
    assert run.data.tags["mlflow.note.content"] == "- words"
