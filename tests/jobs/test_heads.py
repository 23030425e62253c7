"""A page with a backbone from a folder of photographs to a champion, by the real jobs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.web import Web
from PIL import Image
from windrow import featurizer, paths, sql
from windrow.data import features, manifest, shards
from windrow.experiment import PrecisionSection, load
from windrow.model.form import Form
from windrow.scoring.network import low_precision, predict
from windrow.selection import evidence, pictures
from windrow.tracking.models import fetch_model

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]

RunJob = Callable[..., Any]
COLOURS = {"brick": (170, 60, 50), "grass": (60, 150, 60), "lake": (50, 70, 170)}
SIDE = 16
PAGE = """
name: {name}
dataset: {{source: {photos}, test: 0.3, validation: 0.3}}
network: {{backbone: small.keras, parameters: {{views: {views}}}}}
sweep: {{trials: 3, epochs: 12, slots: 1, points: [{{fit: crop, weight_decay: 1e-3}}]}}
promotion: {{finalists: 2, seeds: 2}}
scoring: {{feed: feed, allow_addresses: [127.0.0.0/8], host_rate: null}}
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 JPEG files of three colours with noise, and six of them once more, compressed harder.

    They are three times as wide as high, and both ends have stripes of other colours: only a crop shows the right one
    alone. So the search must choose crop, and all that follows must crop as well.
    """
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name in COLOURS:
        (folder / name).mkdir()
        for number in range(40):
            left, right = generator.uniform(30, 220, (2, 24, 3))
            colour = np.concatenate([left, np.tile(COLOURS[name], (24, 1)), right])
            pixels = np.clip(generator.normal(colour, 45, (24, 72, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg", quality=90)
            if number < 2:
                Image.fromarray(pixels).save(folder / name / f"{number} again.jpg", quality=80)
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small convolution with batch normalisation, with random weights; it has features of each place."""
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    parts = [layers.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 128, -1), layers.Conv2D(8, 3, strides=2)]
    path = tmp_path_factory.mktemp("backbone") / "small.keras"
    keras.Sequential([*parts, layers.BatchNormalization(), layers.ReLU(), layers.Flatten()]).save(path)
    return path


@pytest.fixture
def page(tmp_path: Path, photos: Path, backbone: Path) -> Callable[..., Path]:
    def write(name: str, views: int = 2) -> Path:
        (tmp_path / "small.keras").write_bytes(backbone.read_bytes())
        path = tmp_path / f"{name}.yaml"
        path.write_text(PAGE.format(name=name, photos=photos, views=views))
        return path

    return write


def test_a_folder_of_photographs_becomes_a_champion_by_way_of_features(
    run_job: RunJob,
    page: Callable[..., Path],
    tmp_path: Path,
    client: Any,
    spark: Any,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow
    from pyspark import SparkFiles

    path, data = page("photos"), tmp_path / "data"
    on_data = ("--experiment", path, "--dataset", data)
    prepared = run_job("prepare_dataset", "--experiment", path, "--out", data)
    assert (prepared.code, prepared.result["shape"]) == (0, [SIDE, SIDE, 3]), prepared.output

    early = run_job("sweep", *on_data, "--study", tmp_path / "study")
    assert early.code == 2
    assert "must hold the features of its images; got no features.json" in early.output

    embedded = run_job("embed_images", *on_data)
    assert (embedded.code, embedded.result["views"]) == (0, 2), embedded.output
    sweep = run_job("sweep", *on_data, "--study", tmp_path / "study")
    assert (sweep.code, sweep.result["outcomes"]) == (0, {"ok": 3}), sweep.output
    assert set(sweep.result["best_point"]) >= {"learning_rate", "dropout", "label_smoothing"}
    assert sweep.result["best_point"]["fit"] == "crop"

    pictured, draw = [], pictures.draw
    with monkeypatch.context() as watched:
        watched.setattr(
            pictures, "draw", lambda read, images, *rest: pictured.append(images) or draw(read, images, *rest)
        )
        promotion = run_job("promote_best", *on_data, "--study", tmp_path / "study")
    assert promotion.code == 0, promotion.output
    for images, fit in zip(pictured, ("crop", "main"), strict=True):  # the challenger's pictures, and the default's
        np.testing.assert_array_equal(images, shards.load_split(data, "test", fit)[0])
    assert promotion.result["promoted"] is True
    assert promotion.result["test_accuracy"] > 0.9
    assert evidence.TRAINED_AGAIN in promotion.result["evidence"]
    check_cross_validation(promotion.result, client)
    check_near_copies(promotion.result, len(features.read_for(load(path), data).near_copies.tests))

    version = fetch_model("models:/photos@champion", tmp_path / "files")
    assert (version.shape, version.labels, version.form) == ((SIDE, SIDE, 3), tuple(COLOURS), Form(resize="crop"))
    assert Path(SparkFiles.get(version.digest)).is_file()  # sent as a file: a task has at most 128 MiB on a cluster
    assert version.dataset_digest == prepared.result["digest"]
    network = predict.load(
        version.file, version.digest, version.shape, 8, 3, form=version.form, expected=version.canaries
    )
    images, labels = shards.load_split(data, "test", "crop")
    found = np.concatenate([network.label(images[at : at + 8])[0] for at in range(0, len(images), 8)])
    assert (found[:, 0] == labels).mean() == pytest.approx(promotion.result["test_accuracy"])

    labeller = mlflow.pyfunc.load_model("models:/photos@champion")
    np.testing.assert_array_equal(labeller.predict(images)["label"], np.array(tuple(COLOURS))[found[:, 0]])

    check_labels(run_job, path, spark, photos)
    check_features(path, data, spark, photos)

    atlas = run_job("draw_atlas", *on_data, "--study", tmp_path / "study")
    assert atlas.code == 0, atlas.output
    shown = (tmp_path / "study" / "atlas" / "atlas.html").read_text()
    assert "An image has 16 x 16 pixels of 3 channels. Every network is a head on small, whose 256 weights" in shown

    again = run_job("reproduce", "--model", "photos", "--version", "1", "--out", tmp_path / "again")
    assert again.code == 0, again.output
    assert again.result["difference"] == 0
    assert again.result["bits_equal"], again.output
    digest = features.read_for(load(path), data).backbone.digest
    assert client.get_model_version("photos", "1").tags["windrow.backbone.digest"] == digest
    change_backbone(tmp_path / "small.keras")
    refused = run_job("reproduce", "--model", "photos", "--version", "1", "--out", tmp_path / "again")
    assert refused.code == 2
    assert f"photos version 1 must be trained on features of the backbone with digest {digest[:16]}" in refused.output


def test_a_winner_is_fine_tuned_on_images_and_trained_again_to_the_bit(
    run_job: RunJob, page: Callable[..., Path], tmp_path: Path, client: Any
) -> None:
    path, data = page("tuned"), tmp_path / "data"
    on_data = ("--experiment", path, "--dataset", data)
    assert run_job("prepare_dataset", "--experiment", path, "--out", data).code == 0
    assert run_job("embed_images", *on_data).code == 0
    settings = ("sweep.trials=1", "sweep.epochs=1", "sweep.objective=val_loss", "promotion.seeds=2")
    study = ("--study", tmp_path / "study", *(part for each in settings for part in ("--set", each)))
    assert run_job("sweep", *on_data, *study).code == 0

    refused = run_job("promote_best", *on_data, *study, "--set", "promotion.fine_tune.blocks=2")
    assert refused.code == 2
    assert "promotion.fine_tune.blocks must be at most 1 for" in refused.output

    tune = ("fine_tune.epochs=2", "fine_tune.learning_rate=0.01", "fine_tune.blocks=1")
    small = ("prefer=smallest", "tolerance=0.1")
    tuned = (*study, *(part for each in (*tune, *small) for part in ("--set", f"promotion.{each}")))
    promotion = run_job("promote_best", *on_data, *tuned)
    assert promotion.code == 0, promotion.output
    assert re.search(r"fine-tuning trial 0: (conv2d\w*) to \1, 224 of 256 weights; ", promotion.output)
    for what in ("finalists", "on all images", "fine-tuning"):
        assert re.search(rf"^\[2/2\] {what}: trial 0, seed [12]: val_loss \d+\.\d+ in ", promotion.output, re.MULTILINE)
    found = promotion.result["fine_tuning"]
    assert (found["chosen"], found["seeds"], found["blocks"]) == (True, 2, 1)
    assert promotion.result["val_loss"] == found["fine_tuned"] < found["frozen"]
    weights = "no finalist is smaller than trial 0, which has 202,755 weights; trial 0 is taken"  # of the head alone
    assert promotion.result["preference"] == {"trial": 0, "smaller": False, "reason": weights}
    figures = promotion.result["figures"]
    assert figures["challenger"]["test_loss"] < figures["frozen"]["test_loss"]
    assert figures["frozen"]["seeds"]["seeds"] == 2
    assert f"{found['reason'][1:]}. On the test images the fine-tuned network is ahead" in promotion.result["evidence"]
    runs = client.search_runs(
        [client.get_experiment_by_name("tuned").experiment_id], "tags.windrow.fine_tuned = 'true'"
    )
    assert {run.data.params["fine_tune.learning_rate"] for run in runs} == {"0.01"}
    assert sorted(run.data.tags["mlflow.runName"] for run in runs) == [
        f"finalist 0, fine-tuned, seed {seed}" for seed in (1, 2)
    ]
    assert all("test_accuracy" in run.data.metrics for run in runs)

    repeated = run_job("promote_best", *on_data, *tuned)
    assert (repeated.result["model_version"], repeated.result["fine_tuning"]) == ("1", found)
    assert repeated.result["near_copies"] == promotion.result["near_copies"]
    again = run_job("reproduce", "--model", "tuned", "--version", "1", "--out", tmp_path / "again")
    assert again.code == 0, again.output
    assert again.result["bits_equal"], again.output


def check_cross_validation(result: dict[str, Any], client: Any) -> None:
    """Check that the finalists were validated on two folds, and that cropped images won, clearly or by the default."""
    lead = result["lead"]
    assert (lead["trial"], lead["seeds"], result["point"]["fit"]) == (1, 2, "crop")
    assert result["trial"] == (1 if lead["clear"] else 2)
    assert "of the default configuration with fit crop, " in lead["reason"]
    assert f"{lead['reason'][1:]}." in result["evidence"]
    version = client.get_model_version("photos", "1")
    assert version.tags["windrow.fold"] == "1"
    assert "the network of the first, trained again on all images" in version.description
    runs = client.search_runs(
        [client.get_run(version.run_id).info.experiment_id], "tags.windrow.kind = 'finalist'", max_results=100
    )
    assert sorted(run.data.tags["windrow.trial"] for run in runs) == ["0", "0", "1", "1", "2", "2"]
    read = {run.data.tags["windrow.trial"] for run in runs if "test_accuracy" in run.data.metrics}
    assert read == {"0", str(result["trial"])}


def check_labels(run_job: RunJob, page: Path, spark: Any, photos: Path) -> None:
    """Check that URLs and bytes of photographs get their labels: by a scoring run with a gallery, SQL, and a stage."""
    from deltalake import DeltaTable
    from windrow.transformer import ImageLabeler

    with Web() as web:
        web.serve(photos)
        shown = {f"{web.address}/{name}/{number}.jpg": name for name in COLOURS for number in range(20, 24)}
        (paths.home() / "feed").mkdir(parents=True)
        (paths.home() / "feed" / "one.txt").write_text("\n".join(shown))
        scored = run_job("score_images", "--experiment", page)
    assert (scored.code, scored.result["statuses"]) == (0, {"ok": len(shown)}), scored.output
    labels = DeltaTable(scored.result["table"]).to_pandas().set_index("url")["label"].to_dict()
    assert sum(labels[url] == name for url, name in shown.items()) >= len(shown) - 1
    assert scored.result["links"]["gallery"].endswith(".html")

    rows = [(name, (photos / name / "20.jpg").read_bytes()) for name in COLOURS]
    frame = spark.createDataFrame(rows, "name string, content binary").coalesce(1)
    sql.register(spark, load(page))
    frame.createOrReplaceTempView("photos")
    by_sql = spark.sql("SELECT name, label_bytes(content) AS p FROM photos").collect()
    by_stage = ImageLabeler(page=str(page), inputCol="content", outputCol="p").transform(frame).collect()
    for found in (by_sql, by_stage):
        assert {row["name"]: row["p"]["label"] for row in found} == {
            name: labels[url] for url, name in shown.items() if url.endswith("/20.jpg")
        }


def check_features(page: Path, data: Path, spark: Any, photos: Path) -> None:
    """Check that SQL and a stage give photographs the features that the job has stored."""
    from windrow.transformer import ImageFeaturizer

    names, (stored, _) = shards.load_names(data, "validation")[:3], features.load_split(data, "validation")
    rows = [(number, (photos / name).read_bytes()) for number, name in enumerate(names)]
    frame = spark.createDataFrame(rows, "number int, content binary").coalesce(1)
    frame.createOrReplaceTempView("photographs")
    featurizer.register(spark, load(page))
    by_sql = spark.sql("SELECT number, image_features(content) AS features FROM photographs").collect()
    for found in (by_sql, ImageFeaturizer(page=str(page)).transform(frame).collect()):
        values = np.array([row["features"] for row in sorted(found)])
        np.testing.assert_allclose(values, stored[:3, 0], atol=2e-3 * np.abs(values).max())


def change_backbone(file: Path) -> None:
    """Write other weights into a backbone's file."""
    import keras

    network = keras.saving.load_model(file)
    network.layers[1].set_weights([weight + 1 for weight in network.layers[1].get_weights()])
    network.save(file)


def check_near_copies(result: dict[str, Any], expected: int) -> None:
    """Check that the evidence names photographs that are in test and training, and has the challenger without them."""
    near, row = result["near_copies"], result["figures"]["challenger_without_near_copies"]
    assert 1 <= near["images"] == expected <= 6
    for pair in near["examples"]:
        assert pair[0].replace(" again", "") == pair[1].replace(" again", "")
    assert row["images"] == result["test_images"] - near["images"]
    assert 0 <= row["errors"] <= result["figures"]["challenger"]["errors"]
    assert f"| challenger, without {near['images']} near cop" in result["evidence"]
    assert result["evidence"].count("remove one of each") == 1
    assert "what is near was measured with lite0 only, so look at the pairs" in result["evidence"]
    assert " ~ ".join(near["examples"][0]) in result["evidence"]


@pytest.mark.faults
def test_a_champion_with_a_backbone_keeps_its_labels_at_int8_and_bf16(
    run_job: RunJob, page: Callable[..., Path], tmp_path: Path, client: Any, photos: Path
) -> None:
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("nncf", reason="needs nncf, which is in the lock but for Linux on arm64")
    path, data = page("lowered", views=3), tmp_path / "data"
    on_data = ("--experiment", path, "--dataset", data)
    assert run_job("prepare_dataset", "--experiment", path, "--out", data).code == 0
    assert run_job("embed_images", *on_data).code == 0
    for job in ("sweep", "promote_best"):
        done = run_job(job, *on_data, "--study", tmp_path / "study")
        assert done.code == 0, done.output
    job = ("score_images", "--experiment", path)
    with Web() as web:
        web.serve(photos)
        (paths.home() / "feed").mkdir(parents=True)
        (paths.home() / "feed" / "one.txt").write_text(f"{web.address}/lake/20.jpg\n")
        keys = (("type", "int8"), ("images", photos), ("same_labels", 0.9))
        lowered = [word for key, value in keys for word in ("--set", f"scoring.precision.{key}={value}")]
        scored = run_job(*job, *lowered)
        assert (scored.code, scored.result["statuses"]) == (0, {"ok": 1}), scored.output
    assert scored.result["precision"]["type"] == "int8"
    assert scored.result["precision"]["accuracy"] > 0.9
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return
    section = PrecisionSection(type="bf16", images=str(photos), same_labels=0.9)
    version = fetch_model("models:/lowered@champion", tmp_path / "files")
    _, lost = low_precision.lower(version, section, tmp_path / "home")
    assert lost.accuracy is not None
    assert lost.accuracy > 0.9


def test_another_backbone_makes_another_study_and_is_not_taken_for_the_first(
    run_job: RunJob, page: Callable[..., Path], tmp_path: Path, client: Any
) -> None:
    path, data = page("changed", views=1), tmp_path / "data"  # other features than those that this session has sent
    on_data = ("--experiment", path, "--dataset", data)
    assert run_job("prepare_dataset", "--experiment", path, "--out", data).code == 0
    assert run_job("embed_images", *on_data).code == 0
    study = ("--study", tmp_path / "study", "--set", "sweep.trials=1", "--set", "sweep.epochs=1")
    assert run_job("sweep", *on_data, *study).code == 0

    description = data / "features.json"
    own = description.read_text()
    description.write_text(own.replace(manifest.read(data).digest, "ab" * 32))
    refused = run_job("sweep", *on_data, *study)
    assert refused.code == 2
    assert "must be of the data set in its folder" in refused.output
    description.write_text(own)

    change_backbone(tmp_path / "small.keras")
    before, file = features.read_for(load(path), data).digest, features.read_for(load(path), data).backbone.file
    kept = file.read_bytes()
    file.write_bytes((tmp_path / "small.keras").read_bytes())
    promotion = run_job("promote_best", *on_data, *study)
    assert promotion.code == 2
    assert "must give validation images the features that are stored, within 1% of the largest" in promotion.output
    assert client.search_model_versions("name = 'changed'") == []
    file.write_bytes(kept)
    assert run_job("embed_images", *on_data).code == 0
    assert features.read_for(load(path), data).digest != before
    refused = run_job("sweep", *on_data, *study)
    assert refused.code == 2
    assert "has another dataset, or features of it by another backbone or with other views" in refused.output
