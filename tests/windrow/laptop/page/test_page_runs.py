"""Training and scoring a page from the command line: which DAGs are switched on and followed. Airflow is a stand-in."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from windrow import experiment
from windrow.errors import UserError
from windrow.laptop import watch
from windrow.laptop.airflow_api import Task
from windrow.laptop.demo_request import DemoRequest, find
from windrow.laptop.page import page_runs
from windrow.laptop.watch import Reporter
from windrow.paths import home

SPACE = "space: {units: {type: int, low: 1, high: 2}}"
SCORES = "scoring: {feed: feeds/shoes/*.txt}"
RESULTS = {
    "sweep": {
        **{"trials": 4, "outcomes": {"ok": 4}, "objective": "val_accuracy", "best_value": 0.87654321},
        **{"baseline": 0.4, "links": {"mlflow_run": "http://mlflow/#/runs/3f"}},
    },
    "promote_best": {
        **{"model_version": "1", "promoted": True, "reason": "promoted; few images", "champion_before": None},
        **{"hints": ["raise sweep.epochs", "few images"], "links": {"model_version": "http://mlflow/#/versions/1"}},
    },
    "score_images": {"rows": 3, "statuses": {"ok": 2, "http_error": 1}, "already_scored": 1, "table": "/tables/shoes"},
}


@dataclass
class StandIn:
    """An Airflow whose runs end at once."""

    announced: str = "success"
    on: list[str] = field(default_factory=list)
    triggered: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    pages: str = "http://airflow"

    def has_dag(self, dag: str) -> bool:
        return True

    def unpause(self, dag: str) -> None:
        self.on.append(dag)

    def trigger(self, dag: str, conf: Mapping[str, Any]) -> str:
        self.triggered.append((dag, conf))
        return "manual__1"

    def run_state(self, dag: str, run: str) -> str | None:
        return "success"

    def tasks(self, dag: str, run: str) -> list[Task]:
        return [Task("announce_champion", self.announced, 1)]

    def result(self, dag: str, run: str, task: str) -> Any:
        return RESULTS.get(task)

    def runs_since(self, dag: str, moment: str, kind: str) -> list[str]:
        return ["asset_triggered__1"]


@pytest.fixture
def airflow() -> Any:
    return StandIn()


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(io.StringIO())


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.0)


def page(*parts: str) -> DemoRequest:
    return DemoRequest(Path("shoes.yaml"), experiment.parse("\n".join(["name: shoes", *parts])), ("sweep.trials=4",))


def write_feed(url: str = "http://images.example/1.png") -> None:
    folder = home() / "feeds" / "shoes"
    folder.mkdir(parents=True)
    (folder / "monday.txt").write_text(f"{url}\n")


def test_a_page_with_a_feed_is_trained_and_its_new_champions_labels_are_followed(
    airflow: Any, reporter: Reporter, capsys: pytest.CaptureFixture[str]
) -> None:
    write_feed()
    page_runs.train(airflow, page(SPACE, SCORES), reporter)
    assert airflow.on == ["train_shoes", "score_shoes", "maintain_shoes"]
    assert airflow.triggered == [("train_shoes", {"set": ["sweep.trials=4"]})]
    told = capsys.readouterr().out
    assert "train_shoes: 4 trials (4 ok), best val_accuracy 0.8765, guessing 0.4000\n" in told
    assert "version  1: promoted; few images\n  hint     raise sweep.epochs\n  MLflow   http://mlflow/#/runs/3f" in told
    assert "http://mlflow/#/versions/1  the version" in told
    assert "score_shoes: 3 rows (2 ok, 1 http_error); 1 URL had theirs" in told
    assert "/tables/shoes" in told


def test_a_page_whose_feed_is_empty_is_trained_and_its_scoring_stays_off_with_the_next_step(
    airflow: Any, reporter: Reporter, capsys: pytest.CaptureFixture[str]
) -> None:
    page_runs.train(airflow, page(SPACE, SCORES), reporter)
    assert airflow.on == ["train_shoes"]
    told = capsys.readouterr().out
    assert "score_shoes stays off: the feed must match at least one file; got none for" in told
    assert told.endswith("then run make score EXPERIMENT=shoes\n")


def test_a_loss_is_not_compared_with_the_accuracy_of_guessing(
    airflow: Any, reporter: Reporter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RESULTS, "sweep", {**RESULTS["sweep"], "objective": "val_loss", "best_value": 0.5123})
    page_runs.train(airflow, page(SPACE), reporter)
    assert "(4 ok), best val_loss 0.5123\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scoring", "before", "reason"),
    [
        (SCORES, None, "there is no champion that could label"),
        (
            SCORES,
            "1",
            "the champion stays; it labels new URLs at the page's hour, or now by make score EXPERIMENT=shoes",
        ),
        (
            SCORES.replace("}", ", schedule: null}"),
            "1",
            "the champion stays; it labels new URLs by make score EXPERIMENT=shoes",
        ),
    ],
)
def test_where_no_champion_is_new_it_is_said_why_nothing_is_labelled(
    scoring: str,
    before: str | None,
    reason: str,
    airflow: Any,
    reporter: Reporter,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_feed()
    airflow.announced = "skipped"
    kept = {"model_version": "2", "promoted": False, "reason": "not promoted", "champion_before": before}
    monkeypatch.setitem(RESULTS, "promote_best", kept)
    page_runs.train(airflow, page(SPACE, scoring), reporter)
    assert capsys.readouterr().out.endswith(f"score_shoes was not started: {reason}\n")


@pytest.mark.parametrize(
    ("parts", "announced", "on"),
    [
        ((SPACE,), "success", 1),
        ((SPACE, "scoring: {feed: feeds/shoes/*.txt, model: 'models:/shoes/3'}"), "success", 3),
    ],
    ids=["no scoring", "a pinned version labels"],
)
def test_where_no_scoring_follows_none_is_waited_for(
    parts: tuple[str, ...],
    announced: str,
    on: int,
    airflow: Any,
    reporter: Reporter,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_feed()
    airflow.announced = announced
    page_runs.train(airflow, page(*parts), reporter)
    assert len(airflow.on) == on
    assert "score_shoes:" not in capsys.readouterr().out


def test_a_feed_is_labelled_by_hand(airflow: Any, reporter: Reporter, capsys: pytest.CaptureFixture[str]) -> None:
    page_runs.score(airflow, page(SPACE, SCORES), reporter)
    assert airflow.on == ["score_shoes", "maintain_shoes"]
    assert [dag for dag, _ in airflow.triggered] == ["score_shoes"]
    assert "3 rows (2 ok, 1 http_error)" in capsys.readouterr().out


def test_what_a_page_cannot_do_is_refused_before_a_service_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="make train needs a page with a space; got imagenet, which only scores"):
        page_runs.check_train(find("imagenet", []))
    with pytest.raises(UserError, match="make score needs a page with a section scoring"):
        page_runs.check_score(page(SPACE))
    with pytest.raises(UserError, match=r"the feed must match at least one file; .* there or correct scoring\.feed"):
        page_runs.check_score(page(SPACE, SCORES))
    page_runs.check_train(page(SPACE, SCORES))  # what has no feed yet is trained
    write_feed("http://127.0.0.1/1.png")
    for check in (page_runs.check_train, page_runs.check_score):
        with pytest.raises(UserError, match=r"in scoring.allow_addresses; got 127.0.0.1 in"):
            check(page(SPACE, SCORES))
    with pytest.raises(
        UserError, match=rf"dataset.source must be .*; got 'mine'; no such folder: {home()}/mine; put one"
    ):
        page_runs.check_train(page(SPACE, "dataset: {source: mine}"))
    (home() / "mine").mkdir(parents=True)
    page_runs.check_train(page(SPACE, "dataset: {source: mine}"))
    assert page_runs.main(["train", "--experiment", "photos"]) == 2
    assert f"got 'photos'; no such folder: {home()}/photos" in capsys.readouterr().err
    assert page_runs.main(["train", "--experiment", "nobody"]) == 2
    assert "EXPERIMENT must be a page in dags/experiments; got 'nobody'" in capsys.readouterr().err
    assert not (home() / "log").exists()
