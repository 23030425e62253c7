"""Both DAGs from end to end with `dag.test()`: real jobs, Spark, TensorFlow, MLflow, and images over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.spark,
    pytest.mark.tensorflow,
    pytest.mark.mlflow,
    pytest.mark.timeout(1800),
]

PAGE = """
name: digits
description: Finds a small network for real digits in seconds.
space:
  learning_rate: {type: float, low: 1e-3, high: 1e-2, log: true}
sweep: {trials: 3, epochs: 3, sampler: random, seed: 1}
promotion: {finalists: 1}
scoring:
  feed: feeds/*.txt
  allow_addresses: [127.0.0.0/8]
"""
IMAGES = 12
TASKS = {
    *("prepare_dataset", "sweep", "draw_atlas", "promote_best", "approve_champion", "record_decision"),
    *("announce_champion", "reproduce"),
}


@pytest.fixture(scope="module")
def dags(dag_folder: Callable[..., Path]) -> Path:
    return dag_folder(digits=PAGE)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of some real digits as PNG: /0.png, /1.png, ..."""
    from PIL import Image
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("images")
    for index, pixels in enumerate(load_digits().images[:IMAGES]):
        Image.fromarray((pixels * 15.9375).astype("uint8")).save(folder / f"{index}.png")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def run(airflow: Any, dags: Path, mlflow_server: str) -> Callable[..., Any]:
    def start(dag_id: str, **conf: Any) -> Any:
        return airflow.run(dags, dag_id, conf, MLFLOW_TRACKING_URI=mlflow_server)

    return start


@pytest.fixture(scope="module")
def trained(run: Callable[..., Any]) -> Any:
    """The page's first training: 2 trials of 2 epochs, as the form asks."""
    return run("train_digits", **{"sweep.trials": 2, "sweep.epochs": 2, "set": ["network.parameters.batch_size=64"]})


@pytest.fixture(scope="module")
def trained_again(trained: Any, run: Callable[..., Any]) -> Any:
    """A second training that has to be better by more than there is."""
    return run("train_digits", **{"sweep.trials": 1, "sweep.epochs": 1, "promotion.minimum_improvement": 0.9})


@pytest.fixture(scope="module")
def feed(airflow: Any, images: str) -> Path:
    """Every image twice, and one that is not there."""
    urls = [f"{images}/{index}.png" for index in range(IMAGES)] * 2 + [f"{images}/none.png"]
    feeds = Path(airflow.environment["WINDROW_HOME"]) / "feeds"
    feeds.mkdir(parents=True, exist_ok=True)
    (feeds / "digits.txt").write_text("\n".join(urls))
    return feeds


@pytest.fixture(scope="module")
def scored(trained: Any, feed: Path, run: Callable[..., Any]) -> Any:
    return run("score_digits")


def result(run: Any, task_id: str) -> dict[str, Any]:
    return run.tasks[task_id]["xcoms"]["return_value"]


def events(run: Any, asset: str) -> list[dict[str, Any]]:
    return [event for event in run.events if event["asset"] == asset]


def states(run: Any) -> dict[str, str]:
    return {task_id: task["state"] for task_id, task in run.tasks.items()}


def test_every_train_task_that_is_needed_succeeds_at_the_first_try(trained: Any) -> None:
    skipped = {"approve_champion", "record_decision", "reproduce"}
    assert states(trained) == {name: "skipped" if name in skipped else "success" for name in TASKS}, trained.log[-6000:]
    assert {trained.tasks[name]["tries"] for name in TASKS - skipped} == {1}


def test_the_form_decides_over_the_page(trained: Any) -> None:
    assert sum(result(trained, "sweep")["outcomes"].values()) == 2


def test_the_runs_files_lie_in_its_own_folder(trained: Any, trained_again: Any, airflow: Any) -> None:
    folders = sorted((Path(airflow.environment["WINDROW_HOME"]) / "runs" / "train_digits").iterdir())
    assert len(folders) == 2
    for folder in folders:
        assert {path.name for path in folder.iterdir()} >= {"dataset", "study"}


def test_a_new_champion_is_announced_with_its_figures(trained: Any) -> None:
    [event] = events(trained, "x-mlflow://models/digits")
    assert (event["extra"]["model_name"], event["extra"]["model_version"]) == ("digits", "1")
    assert 0.3 < event["extra"]["test_accuracy"] <= 1


def test_tasks_link_to_mlflow(trained: Any, mlflow_server: str) -> None:
    assert trained.tasks["sweep"]["xcoms"]["_link_mlflow_run"].startswith(mlflow_server)
    assert "/#/compare-runs?runs=" in trained.tasks["sweep"]["xcoms"]["_link_compare"]
    assert "/models/digits" in trained.tasks["promote_best"]["xcoms"]["_link_model_version"]
    assert trained.tasks["draw_atlas"]["xcoms"]["_link_atlas"].startswith(mlflow_server)
    assert trained.tasks["prepare_dataset"]["xcoms"]["_link_mlflow_run"] == ""


def test_a_champion_that_stays_is_not_announced(trained_again: Any) -> None:
    assert states(trained_again)["promote_best"] == "success", trained_again.log[-6000:]
    assert states(trained_again)["announce_champion"] == "skipped"
    assert trained_again.state == "success"
    assert events(trained_again, "x-mlflow://models/digits") == []


def test_data_set_and_predictions_are_assets_whose_events_have_the_figures(trained: Any, scored: Any) -> None:
    [prepared] = events(trained, "x-windrow://datasets/digits")
    assert prepared["extra"]["digest"] == result(trained, "prepare_dataset")["digest"]
    [labelled] = events(scored, "x-windrow://predictions/digits")
    assert (labelled["extra"]["rows"], labelled["extra"]["model_version"]) == (IMAGES + 1, "1")


def test_every_url_of_the_feed_gets_one_row(scored: Any) -> None:
    assert scored.state == "success", scored.log[-6000:]
    assert scored.tasks["score_images"]["xcoms"]["_link_gallery"].endswith("/artifacts/gallery.html")
    assert result(scored, "score_images")["rows"] == IMAGES + 1


def test_scoring_again_adds_nothing(scored: Any, run: Callable[..., Any]) -> None:
    again = run("score_digits")
    assert again.state == "success"
    assert result(again, "score_images")["rows"] == 0
    assert again.tasks["score_images"]["xcoms"]["_link_mlflow_run"] == ""


def test_a_misspelt_knob_is_refused_and_not_ignored(run: Callable[..., Any]) -> None:
    refused = run("train_digits", trials=2)
    assert refused.tasks["prepare_dataset"]["state"] == "failed"
    assert refused.tasks["prepare_dataset"]["tries"] == 1
    assert "unknown key 'trials'" in refused.log
