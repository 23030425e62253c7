"""reproduce.py: a version registered by the other jobs, trained again on real Spark from MLflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.idx import write_split
from windrow.experiment import parse
from windrow.selection.reproduction import Record, Reproduction
from windrow.training.networks import Builder

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]

RunJob = Callable[..., Any]


def promoted(run: RunJob, page: Path, folder: Path) -> dict[str, Any]:
    """What the jobs give for a page, up to a registered version."""
    arguments = ("--experiment", page, "--dataset", folder / "dataset", "--study", folder / "study")
    for job, own in (("prepare_dataset", ("--experiment", page, "--out", folder / "dataset")), ("sweep", arguments)):
        done = run(job, *own)
        assert done.code == 0, done.output
    done = run("promote_best", *arguments)
    assert done.code == 0, done.output
    return dict(done.result)


def reproduced(run: RunJob, folder: Path, model: str, version: object = 1) -> Any:
    return run("reproduce", "--model", model, "--version", version, "--out", folder / "again")


def test_a_version_of_a_built_in_network_is_trained_again_to_the_same_bits(
    run_job: RunJob, page_file: Path, tmp_path: Path, client: Any
) -> None:
    page_file.write_text(page_file.read_text().replace("name: digits", "name: again"))
    promotion = promoted(run_job, page_file, tmp_path)
    page_file.unlink()  # everything is in the record

    again = reproduced(run_job, tmp_path, "again")
    assert again.code == 0, again.output
    tags = client.get_model_version("again", "1").tags
    assert again.result["bits_equal"] is True
    assert again.result["weights_sha256"] == again.result["recorded_weights_sha256"] == tags["windrow.weights"]
    assert again.result["again"] == pytest.approx(promotion["test_accuracy"], abs=1e-6)
    assert again.result["difference"] == pytest.approx(0, abs=1e-6)
    assert again.result["other_packages"] == {}
    assert "weights equal bit for bit" in again.output


BUILDER = """
import keras


def build(shape, classes, width):
    assert width in ("6", "9"), width  # text, as on the page: as a number it would be another hyper-parameter
    image = keras.Input(shape)
    x = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(image))
    x = keras.layers.Dropout(0.1)(keras.layers.Dense(int(width), activation="relu")(x))
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax")(x))
"""
PAGE = """
name: own
dataset: {{source: {0}}}
network:
  builder: "mine.py:build"
  parameters: {{flip: true, zoom: 0.1, contrast: 0.2, brightness: 0.1, class_weight: balanced}}
space:
  width: {{type: categorical, choices: ["6", "9"]}}
  learning_rate: {{type: float, low: 1e-3, high: 1e-1, log: true}}
sweep: {{trials: 2, epochs: 9, patience: 1, objective: val_macro_f1}}
promotion: {{finalists: 1, seeds: 2}}
"""


def write_digits(folder: Path) -> None:
    """Some of scikit-learn's digits as MNIST's four files."""
    from sklearn.datasets import load_digits

    images, labels = (load_digits().images * 15.9375).astype(np.uint8), load_digits().target
    write_split(folder, "train", images[:400], labels[:400])
    write_split(folder, "t10k", images[400:500], labels[400:500])


def runs_of(client: Any, name: str) -> list[Any]:
    """The runs of trials and finalists in a page's experiment."""
    experiment = client.get_experiment_by_name(name).experiment_id
    return list(client.search_runs([experiment], "tags.windrow.trial != ''"))


def test_a_users_network_comes_from_the_record_and_the_data_set_must_be_as_it_was(
    run_job: RunJob, page_file: Path, tmp_path: Path, client: Any
) -> None:
    write_digits(tmp_path / "data")
    (tmp_path / "mine.py").write_text(BUILDER)
    page_file.write_text(PAGE.format(tmp_path / "data"))
    promotion = promoted(run_job, page_file, tmp_path)
    assert promotion["objective"] == "val_macro_f1"
    assert 0 < promotion["val_macro_f1"] <= 1
    for run in runs_of(client, "own"):  # of trials and finalists
        told = [metric.value for metric in client.get_metric_history(run.info.run_id, "val_macro_f1")]
        assert run.data.metrics["best_val_macro_f1"] == max(told)
        assert len(told) in (told.index(max(told)) + 2, 9)
    (tmp_path / "mine.py").write_text("def build(**_):\n    raise ValueError('another text by now')\n")

    again = reproduced(run_job, tmp_path, "own")
    assert again.code == 0, again.output
    assert again.result["bits_equal"] is True
    assert again.result["recorded"] == pytest.approx(again.result["again"], abs=1e-6)

    images = tmp_path / "data" / "train-images-idx3-ubyte"
    changed = bytearray(images.read_bytes())
    changed[-1] ^= 1
    images.write_bytes(changed)
    refused = reproduced(run_job, tmp_path, "own")
    assert refused.code == 2
    assert "own version 1 must be trained on the data set with digest" in refused.output
    assert f"{tmp_path / 'data'} gives" in refused.output

    (tmp_path / "data").rename(tmp_path / "elsewhere")
    gone = reproduced(run_job, tmp_path, "own")
    assert gone.code == 2
    assert f"no such folder: {tmp_path / 'data'}" in gone.output


def test_weights_that_differ_are_said_with_the_packages_and_networks_that_have_changed() -> None:
    from reproduce import compare

    packages = {"keras": ("3.1", "3.2"), "built-in networks": ("revision 1", "revision 2")}
    page = parse("name: old\nspace: {units: {type: int, low: 8, high: 9}}\n")
    record = Record("old", "1", page, Builder("dense"), {}, 0, 0, "d", "w", 0.5, 1, None, packages)
    told = compare(record, Reproduction(0.75, 4, "another"))["told"]
    assert str(told).endswith(
        "weights differ; other versions now: keras 3.2 (then 3.1), built-in networks revision 2 (then revision 1)"
    )
    assert str(compare(record, Reproduction(0.5, 4, "w"))["told"]).endswith("weights equal bit for bit")
