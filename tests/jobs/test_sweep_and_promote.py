"""sweep.py and promote_best.py on real Spark, TensorFlow and MLflow, and once by the command line."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.idx import write_split
from windrow import experiment
from windrow.data import manifest as manifests
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.study import open_study

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]

RunJob = Callable[..., Any]


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
    run_job: RunJob, digits: Path, page_file: Path, tmp_path: Path, client: Any
) -> None:
    data = shutil.copytree(digits, tmp_path / "data")
    manifests.write(data, replace(manifests.read(data), warnings=("9 test images: few",)))
    arguments = ("--experiment", named(page_file, "whole"), "--dataset", data, "--study", tmp_path / "study")
    sweep = run_job("sweep", *arguments)
    assert sweep.code == 0, sweep.output
    assert sweep.result["outcomes"] == {"ok": 3}
    validation = np.bincount(np.load(digits / "validation-labels.npy"))
    assert sweep.result["baseline"] == pytest.approx(validation.max() / validation.sum())
    assert all("sweep.epochs" in hint for hint in sweep.result["hints"])

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
    assert parent.data.tags["mlflow.note.content"].count("- 9 test images: few\n") == 1
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
    assert promotion.result["figures"]["challenger"]["interval"]["low"] > promotion.result["baseline"]
    champion = client.get_model_version_by_alias("whole", "champion")
    assert champion.version == promotion.result["model_version"] == "1"
    assert float(champion.tags["windrow.test_accuracy"]) == pytest.approx(promotion.result["test_accuracy"], abs=1e-6)
    assert promotion.result["reason"] in champion.description
    for shown in (promotion.result["evidence"], champion.description):
        assert shown.count("less certain:\n\n- 9 test images: few\n") == 1

    repeated = run_job("promote_best", *arguments)
    assert repeated.result == promotion.result
    assert len(client.search_model_versions("name = 'whole'")) == 1


def test_a_trial_that_diverges_or_fails_does_not_sink_the_sweep(
    run_job: RunJob, digits: Path, page_file: Path, tmp_path: Path, client: Any
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


def test_a_mistake_in_an_argument_exits_with_2_and_makes_no_study(
    run_job: RunJob, digits: Path, page_file: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    sweep = run_job(
        "sweep", "--experiment", page_file, "--dataset", digits, "--study", study, "--set", "sweep.trails=1"
    )
    assert sweep.code == 2
    assert "did you mean sweep.trials?" in sweep.output
    assert not study.exists()


LOGITS = (
    "import keras\ndef build(shape, classes, **_):\n    i = keras.Input(shape)\n"
    "    return keras.Model(i, keras.layers.Dense(classes)(keras.layers.Flatten()(i)))\n"
)


def test_a_builder_that_gives_no_probabilities_exits_with_2_before_a_trial_and_may_be_corrected(
    run_job: RunJob, digits: Path, page_file: Path, tmp_path: Path, client: Any
) -> None:
    page_file.write_text(named(page_file, "logits").read_text().replace("builder: dense", "builder: 'mine.py:build'"))
    arguments = ("--experiment", page_file, "--dataset", digits, "--study", tmp_path / "study")
    short = ("--set", "sweep.trials=1", "--set", "sweep.epochs=1")
    for source, told in (
        ("import no_such_module\ndef build(**_): ...\n", "No module named 'no_such_module'"),
        (LOGITS, "end with a softmax: keras.layers.Dense(classes, activation='softmax')"),
    ):
        (tmp_path / "mine.py").write_text(source)
        sweep = run_job("sweep", *arguments, *short)
        assert sweep.code == 2
        assert told in sweep.error
        assert "trial 0" not in sweep.output
    (tmp_path / "mine.py").write_text(LOGITS.replace("Dense(classes)", "Dense(classes, activation='softmax')"))
    corrected = run_job("sweep", *arguments, *short)
    assert corrected.code == 0, corrected.output
    assert corrected.result["outcomes"] == {"ok": 1}


def test_a_builder_that_takes_a_parameter_of_the_training_loop_begins_no_study_but_continues_one(
    run_job: RunJob, digits: Path, page_file: Path, tmp_path: Path, client: Any
) -> None:
    page_file.write_text(named(page_file, "taken").read_text().replace("builder: dense", "builder: 'mine.py:build'"))
    source = "def build(shape, classes, optimizer='adam', **more): ...\n"
    (tmp_path / "mine.py").write_text(source)
    folder = tmp_path / "study"
    arguments = ("--experiment", page_file, "--dataset", digits, "--study", folder, "--set", "sweep.trials=1")
    refused = run_job("sweep", *arguments)
    assert (refused.code, "must leave the parameters of the training loop" in refused.error) == (2, True)
    assert not (folder / "study.json").exists()

    page = experiment.load(page_file, ["sweep.trials=1"])
    with open_study(folder, page, manifests.read(digits).digest, source) as study:  # by a Windrow without the check
        asked = study.ask()
        assert asked is not None
        study.settle(Outcome(asked.number, 1, Ending.OK, 0.9, (), 1.0, lease=asked.token))
    continued = run_job("sweep", *arguments)
    assert continued.code == 0, continued.output
    assert continued.result["outcomes"] == {"ok": 1}


@pytest.mark.faults
@pytest.mark.parametrize("deed", ["os.kill(os.getpid(), 9)", "time.sleep(1000)"])
def test_a_builder_that_kills_or_blocks_the_worker_that_tries_it_is_left_to_the_trials(
    run_job: RunJob, digits: Path, page_file: Path, tmp_path: Path, client: Any, deed: str
) -> None:
    """It does so once; the first trial finds a new worker, and a builder that works."""
    (tmp_path / "mine.py").write_text(
        "import os, time, pathlib\n"
        + LOGITS.replace("Dense(classes)", "Dense(classes, activation='softmax')").replace(
            "    i =",
            f"    mark = pathlib.Path({str(tmp_path / 'mark')!r})\n    if not mark.exists():\n"
            f"        mark.touch()\n        {deed}\n    i =",
        )
    )
    page_file.write_text(named(page_file, "deeds").read_text().replace("builder: dense", "builder: 'mine.py:build'"))
    limits = ("--set", "sweep.trials=1", "--set", "sweep.epochs=1", "--set", "sweep.trial_seconds=15")
    arguments = ("--experiment", page_file, "--dataset", digits, "--study", tmp_path / "study")
    sweep = run_job("sweep", *arguments, *limits)
    assert sweep.code == 0, sweep.output
    assert sweep.result["outcomes"] == {"ok": 1}
    assert (tmp_path / "mark").exists()


def test_mlflow_that_is_down_is_found_out_before_a_trial_begins(
    run_job: RunJob, digits: Path, page_file: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    environment = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}
    arguments = ("--experiment", page_file, "--dataset", digits, "--study", tmp_path / "study")
    sweep = run_job("sweep", *arguments, environment=environment)
    assert sweep.code == 1
    assert "error: MLflow must answer at MLFLOW_TRACKING_URI" in sweep.error
    assert "trial 0" not in sweep.output


@pytest.mark.parametrize("job", ["sweep", "promote_best"])
def test_a_data_set_that_was_not_prepared_exits_with_2(
    run_job: RunJob, page_file: Path, tmp_path: Path, job: str
) -> None:
    finished = run_job(job, "--experiment", page_file, "--dataset", tmp_path, "--study", tmp_path / "study")
    assert finished.code == 2
    assert "prepare_dataset" in finished.error


def test_a_promotion_without_a_study_exits_with_2(
    run_job: RunJob, digits: Path, page_file: Path, tmp_path: Path
) -> None:
    finished = run_job("promote_best", "--experiment", page_file, "--dataset", digits, "--study", tmp_path / "none")
    assert finished.code == 2
    assert "run sweep.py first" in finished.error


TWO_CORES = """
import os
import keras


def build(shape, classes, width):
    import tensorflow as tf

    threads = tf.config.threading.get_intra_op_parallelism_threads() or int(os.environ["TF_NUM_INTRAOP_THREADS"])
    assert (threads, os.environ["OMP_NUM_THREADS"]) == (2, "2"), "a task has two cores"
    image = keras.Input(shape)
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax")(keras.layers.Flatten()(image)))
"""


@pytest.mark.submit
@pytest.mark.faults
def test_a_sweep_by_its_command_line_gives_each_trial_the_cores_that_the_page_says(
    submit: RunJob, digits: Path, tmp_path: Path
) -> None:
    """On two slots, MLflow's file and a user's network that looks at its own threads."""
    (tmp_path / "mine.py").write_text(TWO_CORES)
    (tmp_path / "page.yaml").write_text(
        "name: two_cores\nnetwork: {builder: 'mine.py:build'}\nspace: {width: {type: int, low: 1, high: 9}}\n"
        "sweep: {trials: 2, epochs: 1, cores: 2, sampler: random}\n"
    )
    study = tmp_path / "study"
    sweep = submit("sweep", "--experiment", tmp_path / "page.yaml", "--dataset", digits, "--study", study)
    assert sweep.code == 0, sweep.output
    assert (sweep.result["outcomes"], sweep.result["slots"]) == ({"ok": 2}, 1)
    assert (tmp_path / "home" / "mlflow" / "mlflow.db").is_file()


def test_a_median_pruner_stops_a_trial_that_can_learn_nothing_and_the_sweep_ends_once_none_is_better(
    run_job: RunJob, digits: Path, page_file: Path, tmp_path: Path, client: Any
) -> None:
    """Five good trials teach it; the sixth hardly moves its weights."""
    points = [{"learning_rate": rate, "units": 64} for rate in (0.01, 0.012, 0.014, 0.016, 1e-4)]
    page_file.write_text(
        named(page_file, "median")
        .read_text()
        .replace("sweep: {trials: 3, epochs: 3}", "sweep: {trials: 40, epochs: 4, stop_after: 4}")
    )
    overrides = ("sweep.pruner=median", "sweep.sampler=random", "sweep.slots=1", f"sweep.points={points}")
    arguments = [word for override in overrides for word in ("--set", override)]
    sweep = run_job("sweep", "--experiment", page_file, "--dataset", digits, "--study", tmp_path / "study", *arguments)
    assert sweep.code == 0, sweep.output
    runs = {run.data.tags["windrow.trial"]: run for run in children(client, sweep.result)}
    assert runs["5"].data.params["learning_rate"] == "0.0001"
    assert runs["5"].data.tags["windrow.ending"] == "pruned"
    history = client.get_metric_history(runs["5"].info.run_id, "val_accuracy")
    assert len(history) < 4
    assert sweep.result["outcomes"]["pruned"] >= 1
    assert re.match(r"\d+ trials in a row, the last ones, were not better than trial", sweep.result["stopped"])
    assert len(runs) == sweep.result["trials"] < 40
    parent = client.get_run(sweep.result["run_id"])
    assert sweep.result["stopped"][1:] in parent.data.tags["mlflow.note.content"].replace("\\", "")
    assert "estimate after 5 trials: at most" in sweep.output


def test_a_sweep_that_starts_warm_draws_its_points_from_what_an_earlier_study_learned(
    run_job: RunJob, digits: Path, page_file: Path, tmp_path: Path, client: Any
) -> None:
    page = experiment.load(named(page_file, "warm"), ["sweep.trials=40"])
    with open_study(tmp_path / "earlier", page, "another data set") as study:
        while (asked := study.ask()) is not None:  # the nearer to 20 units, the better
            value = 1 - abs(int(asked.point["units"]) - 20) / 200
            study.settle(Outcome(asked.number, asked.attempt, Ending.OK, value, lease=asked.token))
    arguments = ("--experiment", page_file, "--dataset", digits, "--set", "sweep.trials=3", "--set", "sweep.epochs=1")
    warm = (*arguments, "--set", f"sweep.warm_start={tmp_path / 'earlier'}", "--study", tmp_path / "warm")
    two_goals = ("--set", "sweep.objectives=[val_accuracy, milliseconds]")  # of the other sweep, which costs nothing
    points = {}
    for name, own in (("cold", (*arguments, *two_goals, "--study", tmp_path / "cold")), ("warm", warm)):
        done = run_job("sweep", *own)
        assert done.code == 0, done.output
        runs = {int(run.data.tags["windrow.trial"]): run.data.params for run in children(client, done.result)}
        points[name] = [int(runs[number]["units"]) for number in (1, 2)]  # 0 is the default configuration
        if name == "cold":
            check_front(client, done.result)
        else:
            assert done.result["front"] == []
    assert all(abs(units - 20) < 12 for units in points["warm"]), points
    assert points["warm"] != points["cold"]


def test_a_promotion_takes_the_smallest_network_of_the_front_within_the_tolerance(
    run_job: RunJob, digits: Path, page_file: Path, tmp_path: Path, client: Any
) -> None:
    sets = (
        *("sweep.objectives=[val_accuracy, weights]", "sweep.points=[{units: 16}, {units: 128}]", "sweep.epochs=6"),
        *("promotion.seeds=3", "promotion.finalists=3"),
    )
    shared = ("--dataset", digits, "--study", tmp_path / "study", *(part for one in sets for part in ("--set", one)))
    arguments = ("--experiment", named(page_file, "small"), *shared)
    sweep = run_job("sweep", *arguments)
    assert sweep.code == 0, sweep.output
    front = {trial["trial"]: trial["cost"] for trial in sweep.result["front"]}
    refused = run_job("promote_best", *arguments, "--set", "promotion.prefer=smallest")
    assert (refused.code, "is missing, and prefer: smallest needs it" in refused.output) == (2, True)

    prefer = ("--set", "promotion.prefer=smallest", "--set", "promotion.tolerance=0.99")
    promotion = run_job("promote_best", *arguments, *prefer)
    assert promotion.code == 0, promotion.output
    found, smallest = promotion.result["preference"], min(front, key=lambda number: front[number])
    assert (found["trial"], promotion.result["trial"], front[smallest]) == (
        smallest,
        smallest,
        64 * 16 + 16 + 16 * 10 + 10,
    )
    assert re.match(
        rf"trial {smallest} has 1,210 weights in place of [\d,]+ \(trial \d, the best on validation\) and is worse by "
        r"0\.\d{4}, at most \d\.\d{4} \(95 %\), within the tolerance of 0\.99; it is taken$",
        found["reason"],
    )
    assert f"The smallest network is preferred: {found['reason']}." in promotion.result["evidence"]
    version = client.get_model_version("small", promotion.result["model_version"])
    assert found["reason"] in version.description
    runs = client.search_runs(
        [client.get_run(version.run_id).info.experiment_id], "tags.windrow.kind = 'finalist'", max_results=100
    )
    assert {int(run.data.tags["windrow.trial"]) for run in runs} == {0, *front}
    assert all(run.data.metrics["weights"] == front.get(int(run.data.tags["windrow.trial"]), 2410) for run in runs)


def check_front(client: Any, result: dict[str, Any]) -> None:
    """The front is that of the trials' figures in MLflow, and in the sweep's note."""
    runs = {int(run.data.tags["windrow.trial"]): run.data.metrics for run in children(client, result)}
    measured = {number: (run["val_accuracy"], run["milliseconds"]) for number, run in runs.items()}
    undominated = {
        number
        for number, (value, cost) in measured.items()
        if not any(
            (other >= value and least < cost) or (other > value and least <= cost) for other, least in measured.values()
        )
    }
    assert {one["trial"] for one in result["front"]} == undominated
    assert result["front"][0]["trial"] == result["best_trial"]
    for one in result["front"]:
        assert (one["value"], one["cost"]) == pytest.approx(measured[one["trial"]])
        assert one["cost"] > 0
    note = client.get_run(result["run_id"]).data.tags["mlflow.note.content"]
    assert f"| {result['best_trial']} | {result['best_value']:.4f} |" in note


def digest(place: Path) -> str:
    return manifests.read(place / "data").digest


def test_two_sweeps_over_two_data_sets_in_one_session_each_read_their_own_images(
    run_job: RunJob, page_file: Path, tmp_path: Path, client: Any
) -> None:
    """In one the bright row is the label, in the other nothing is; the first is sent, and found, a second time.

    No test image is sent to an executor of a sweep. What can't be learned is learned by heart, and a hint says so.
    """
    from pyspark import SparkFiles

    draw = np.random.default_rng(0)
    labels = draw.integers(0, 8, 500)
    told = draw.integers(0, 60, (500, 8, 8))
    told[np.arange(500), labels] += 150
    best, hints = [], []
    for source, images in (("told", told), ("untold", draw.integers(0, 256, (500, 8, 8))), ("told", told)):
        for split, part in (("train", slice(400)), ("t10k", slice(400, 500))):
            write_split(tmp_path / source, split, images[part], labels[part])
        place = tmp_path / f"{source}-{len(best)}"
        arguments = ("--experiment", named(page_file, "two_sets"), "--set", f"dataset.source={tmp_path / source}")
        assert run_job("prepare_dataset", *arguments, "--out", place / "data").code == 0
        more = ("--set", "sweep.trials=1", "--set", "sweep.epochs=40", "--set", "network.parameters.learning_rate=0.01")
        sweep = run_job("sweep", *arguments, *more, "--dataset", place / "data", "--study", place / "study")
        assert sweep.code == 0, sweep.output
        best.append(sweep.result["best_value"])
        hints.append(" ".join(sweep.result["hints"]))
        sent = {path.name.partition("-")[2] for path in Path(SparkFiles.getRootDirectory()).glob(f"{digest(place)}-*")}
        assert sent == {f"{split}-{kind}.npy" for split in ("train", "validation") for kind in ("images", "labels")}
    assert best[0] > 0.9
    assert best[1] < 0.4
    assert best[2] == best[0]
    assert "on validation: add images, augment them" in hints[1]
    assert "on validation:" not in hints[0]
