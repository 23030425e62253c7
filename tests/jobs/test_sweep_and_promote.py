"""sweep.py and promote_best.py by their command lines, on real Spark, TensorFlow and MLflow."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]

JOBS = Path(__file__).resolve().parents[2] / "jobs"
Submit = Callable[..., Any]


@pytest.fixture
def client(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the real server that the jobs of the test speak to."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    return mlflow.MlflowClient(mlflow_server, mlflow_server)


def named(page_file: Path, name: str) -> Path:
    """The small page under a name of its own, so that tests share a server without sharing an experiment."""
    page_file.write_text(page_file.read_text().replace("name: digits", f"name: {name}"))
    return page_file


def children(client: Any, result: dict[str, Any]) -> list[Any]:
    run = client.get_run(result["run_id"])
    return list(
        client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{result['run_id']}'", max_results=100)
    )


def test_a_sweep_and_its_promotion_are_told_to_mlflow_and_can_be_repeated(
    run_job: Submit, digits: Path, page_file: Path, tmp_path: Path, client: Any
) -> None:
    arguments = ("--experiment", named(page_file, "whole"), "--dataset", digits, "--study", tmp_path / "study")
    sweep = run_job("sweep", *arguments)
    assert sweep.code == 0, sweep.output
    assert sweep.result["outcomes"] == {"ok": 3}

    runs = children(client, sweep.result)
    assert len(runs) == 3
    assert len({frozenset(run.data.params) for run in runs}) == 1
    assert len({frozenset(run.data.metrics) for run in runs}) == 1
    assert {"learning_rate", "units", "batch_size", "optimizer"} <= set(runs[0].data.params)
    history = client.get_metric_history(runs[0].info.run_id, "val_accuracy")
    assert [metric.step for metric in history] == [1, 2, 3]
    best = max(runs, key=lambda run: run.data.metrics["val_accuracy"])
    assert best.data.metrics["val_accuracy"] == pytest.approx(sweep.result["best_value"])

    parent = client.get_run(sweep.result["run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.inputs.dataset_inputs[0].dataset.digest == parent.data.tags["windrow.dataset.digest"][:32]
    assert {"windrow.seed", "windrow.version.tensorflow", "windrow.version.pyspark"} <= set(parent.data.tags)
    assert (
        client.get_experiment(parent.info.experiment_id).tags["mlflow.experiment.primaryMetric.name"] == "val_accuracy"
    )

    again = run_job("sweep", *arguments)
    assert again.result["run_id"] == sweep.result["run_id"]
    assert again.result["best_value"] == sweep.result["best_value"]
    assert len(children(client, again.result)) == 3

    promotion = run_job("promote_best", *arguments)
    assert promotion.code == 0, promotion.output
    assert promotion.result["promoted"] is True
    champion = client.get_model_version_by_alias("whole", "champion")
    assert champion.version == promotion.result["model_version"] == "1"
    assert float(champion.tags["windrow.test_accuracy"]) == pytest.approx(promotion.result["test_accuracy"], abs=1e-6)
    assert promotion.result["reason"] in champion.description

    repeated = run_job("promote_best", *arguments)
    assert repeated.result == promotion.result
    assert len(client.search_model_versions("name = 'whole'")) == 1


def test_a_challenger_that_is_not_better_leaves_the_champion_alone(
    run_job: Submit, digits: Path, page_file: Path, tmp_path: Path, client: Any
) -> None:
    page = named(page_file, "loser")
    for study, overrides in (("good", []), ("bad", ["--set", "sweep.epochs=1", "--set", "sweep.trials=1"])):
        arguments = ("--experiment", page, "--dataset", digits, "--study", tmp_path / study, *overrides)
        assert run_job("sweep", *arguments).code == 0
        promotion = run_job("promote_best", *arguments)
        assert promotion.code == 0, promotion.output
    assert promotion.result["promoted"] is False
    assert "is not better" in promotion.result["reason"]
    assert promotion.result["champion_test_accuracy"] > promotion.result["test_accuracy"]
    assert client.get_model_version_by_alias("loser", "champion").version == "1"
    assert client.get_model_version_by_alias("loser", "challenger").version == "2"


def test_a_sweep_that_was_killed_goes_on_and_repeats_no_finished_trial(
    run_job: Submit, digits: Path, page_file: Path, tmp_path: Path, client: Any
) -> None:
    arguments = [
        *(
            "--experiment",
            str(named(page_file, "killed")),
            "--dataset",
            str(digits),
            "--study",
            str(tmp_path / "study"),
        ),
        *("--set", "sweep.trials=6", "--set", "sweep.epochs=40"),
    ]
    log = tmp_path / "log"
    command = [str(Path(sys.executable).with_name("spark-submit")), "--master", "local[2]", str(JOBS / "sweep.py")]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, *arguments], stdout=output, stderr=output, start_new_session=True, env=environment
        )
    end = time.monotonic() + 200
    while "[2/6]" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)

    resumed = run_job("sweep", *arguments)
    assert resumed.code == 0, resumed.output
    assert resumed.result["trials"] == 6
    ended = re.findall(r"^\[\d/6\] trial (\d+):", resumed.output, re.MULTILINE)
    assert len(ended) == len(set(ended)) <= 4  # two had ended before the kill, and lines of progress are no trials
    runs = children(client, resumed.result)
    assert sorted(int(run.data.tags["windrow.trial"]) for run in runs) == list(range(6))
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_trial_that_diverges_or_fails_does_not_sink_the_sweep(
    run_job: Submit, digits: Path, page_file: Path, tmp_path: Path, client: Any
) -> None:
    (tmp_path / "mine.py").write_text(
        "import keras\ndef build(shape, classes, mood):\n"
        "    if mood == 'angry':\n        raise ValueError('not today')\n"
        "    scale = 1e30 if mood == 'wild' else 1 / 255\n"
        "    i = keras.Input(shape)\n    x = keras.layers.Rescaling(scale)(keras.layers.Flatten()(i))\n"
        "    return keras.Model(i, keras.layers.Softmax()(keras.layers.Dense(classes)(x)))\n"
    )
    page_file.write_text(
        "name: moods\nnetwork: {builder: 'mine.py:build', parameters: {optimizer: sgd, learning_rate: 1.0}}\n"
        "space: {mood: {type: categorical, choices: [calm, wild, angry]}}\nsweep: {sampler: grid, epochs: 3}\n"
    )
    sweep = run_job("sweep", "--experiment", page_file, "--dataset", digits, "--study", tmp_path / "study")
    assert sweep.code == 0, sweep.output
    assert sweep.result["outcomes"] == {"ok": 1, "diverged": 1, "failed": 1}
    told = {run.data.params["mood"]: run for run in children(client, sweep.result)}
    assert "not today" in told["angry"].data.tags["windrow.error"]
    assert told["wild"].data.tags["windrow.ending"] == "diverged"
    assert told["wild"].info.status == "FAILED"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("sweep.trials: 3", "--set", "sweep.trials=0"), "sweep.trials"),
        (("", "--set", "sweep.trails=1"), "did you mean sweep.trials?"),
    ],
)
def test_a_mistake_on_the_page_or_in_an_argument_exits_with_2(
    run_job: Submit, digits: Path, page_file: Path, tmp_path: Path, change: tuple[str, str, str], told: str
) -> None:
    sweep = run_job("sweep", "--experiment", page_file, "--dataset", digits, "--study", tmp_path / "study", *change[1:])
    assert sweep.code == 2
    assert told in sweep.output
    assert not (tmp_path / "study").exists()


def test_a_builder_that_can_not_be_imported_exits_with_2_after_one_trial(
    run_job: Submit, digits: Path, page_file: Path, tmp_path: Path, client: Any
) -> None:
    (tmp_path / "mine.py").write_text("import no_such_module\ndef build(**_): ...\n")
    page_file.write_text(page_file.read_text().replace("builder: dense", "builder: 'mine.py:build'"))
    sweep = run_job("sweep", "--experiment", page_file, "--dataset", digits, "--study", tmp_path / "study")
    assert sweep.code == 2
    told = [line for line in sweep.output.splitlines() if line.startswith("error: ")]
    assert "No module named 'no_such_module'" in told[-1]  # Spark may log the end of a task that was cut off after it


def test_mlflow_that_is_down_is_found_out_before_spark_starts(
    run_job: Submit, digits: Path, page_file: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    environment = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}
    sweep = run_job(
        *("sweep", "--experiment", page_file, "--dataset", digits, "--study", tmp_path / "study"),
        environment=environment,
    )
    assert sweep.code == 1
    assert "error: MLflow must answer at MLFLOW_TRACKING_URI" in sweep.output
    assert "trial 0" not in sweep.output


def test_a_spark_master_that_is_not_there_is_found_out_within_seconds(
    run_job: Submit, digits: Path, page_file: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    start = time.monotonic()
    sweep = run_job(
        *("sweep", "--experiment", page_file, "--dataset", digits, "--study", tmp_path / "study"),
        master=f"spark://127.0.0.1:{free_port()}",
    )
    assert sweep.code == 1
    assert "error: the Spark master must answer" in sweep.output
    assert time.monotonic() - start < 90


@pytest.mark.parametrize("job", ["sweep", "promote_best"])
def test_a_data_set_that_was_not_prepared_exits_with_2(
    run_job: Submit, page_file: Path, tmp_path: Path, job: str
) -> None:
    finished = run_job(job, "--experiment", page_file, "--dataset", tmp_path, "--study", tmp_path / "study")
    assert finished.code == 2
    assert "prepare_dataset" in finished.output


def test_a_promotion_without_a_study_exits_with_2(
    run_job: Submit, digits: Path, page_file: Path, tmp_path: Path
) -> None:
    finished = run_job("promote_best", "--experiment", page_file, "--dataset", digits, "--study", tmp_path / "none")
    assert finished.code == 2
    assert "run sweep.py first" in finished.output
