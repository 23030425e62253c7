"""embed_images.py on real Spark and a small backbone: computed once, continued, grown, refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.features import noise, prepare, save_backbone, write_page
from numpy.typing import NDArray
from PIL import Image
from windrow import paths
from windrow.data import features, shards
from windrow.data import manifest as manifests
from windrow.data.features import embed_run, views
from windrow.data.features.embed_run import Pace
from windrow.errors import DatasetError
from windrow.experiment import load

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow]
RunJob = Callable[..., Any]


@pytest.fixture(scope="session")
def small_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_backbone(tmp_path_factory.mktemp("backbone") / "small.keras")


@pytest.fixture
def page(tmp_path: Path, small_backbone: Path) -> Path:
    return write_page(tmp_path, small_backbone)


@pytest.fixture
def embed(run_job: RunJob, page: Path) -> Callable[..., Any]:
    def run(dataset: Path, *overrides: str) -> Any:
        settings = [word for override in overrides for word in ("--set", override)]
        return run_job("embed_images", "--experiment", page, "--dataset", dataset, *settings)

    return run


def expected(backbone: Path, pixels: NDArray[np.uint8], keys: NDArray[np.uint8], number: int) -> NDArray[Any]:
    """A view's features, by Keras alone."""
    import keras

    drawn = [views.view(image, key.tobytes(), number) for image, key in zip(pixels, keys, strict=True)]
    return np.asarray(keras.models.load_model(backbone)(np.stack(drawn).astype(np.float32)))


def test_the_features_of_each_view_are_those_of_the_backbone_and_the_second_time_found(
    embed: Callable[..., Any], tmp_path: Path, page: Path, small_backbone: Path
) -> None:
    folder = prepare(tmp_path / "data", noise(60))
    done = embed(folder)
    assert done.code == 0, done.output
    manifest = manifests.read(folder)
    assert done.result["images"] == 60
    assert done.result["computed"] == 60 + 2 * manifest.splits["train"]
    assert 0 < done.result["share_of_ceiling"] <= 1
    assert done.result["loading_seconds"] > 0
    found = features.read_for(load(page), folder)
    assert (found.views, found.shape, found.digest) == (3, (1, 1, 32), done.result["digest"])
    for split in ("train", "validation", "test"):
        values, labels = features.load_split(folder, split)
        pixels, wanted = shards.load_split(folder, split)
        assert values.dtype == np.float16
        assert values.shape == (len(pixels), 3 if split == "train" else 1, 32)
        assert (labels == wanted).all()
        for number in range(values.shape[1]):
            exact = expected(small_backbone, pixels, shards.load_hashes(folder, split), number)
            assert np.abs(values[:, number] - exact).max() < 2e-3

    again = embed(folder)
    assert (again.code, again.result["computed"], again.result["digest"]) == (0, 0, done.result["digest"])
    assert "images a second" not in again.output


def test_images_of_both_fits_have_features_of_each_and_equal_pixels_are_computed_once(
    embed: Callable[..., Any], tmp_path: Path, page: Path, small_backbone: Path
) -> None:
    squashed, overrides = noise(40), ("network.parameters.views=1", "network.parameters.fit=squash")
    cropped = np.concatenate([squashed[:15], noise(25, first=100)])  # the first 15 photographs are square
    folder = prepare(tmp_path / "data", squashed, cropped)
    done = embed(folder, *overrides)
    assert (done.code, done.result["computed"]) == (0, 40 + 25), done.output
    for split in ("train", "validation", "test"):
        for fit in ("crop", "main"):
            pixels, labels = shards.load_split(folder, split, fit)
            values, same = features.load_split(folder, split, fit)
            assert (labels == same).all()
            exact = expected(small_backbone, pixels, shards.load_hashes(folder, split, fit), 0)
            assert np.abs(values[:, 0] - exact).max() < 2e-3
    with pytest.raises(DatasetError, match=r"as dataset.fit asks for, squash; got both; run prepare"):
        features.read_for(load(page), folder)


def test_another_data_set_computes_its_new_images_only(
    embed: Callable[..., Any], tmp_path: Path, small_backbone: Path
) -> None:
    from pyspark import SparkFiles

    assert embed(prepare(tmp_path / "small", noise(40)), "network.parameters.views=1").result["computed"] == 40
    for path in (paths.home() / "features").glob("*/*.block"):
        os.utime(path, (1, 1))  # not read for long: the job keeps them, because it needs them
    folder = prepare(tmp_path / "grown", noise(65))
    grown = embed(folder, "network.parameters.views=1")
    assert (grown.code, grown.result["computed"], grown.result["removed"]) == (0, 25, 0)
    values, _ = features.load_split(folder, "train")
    pixels, _ = shards.load_split(folder, "train")
    exact = expected(small_backbone, pixels, shards.load_hashes(folder, "train"), 0)
    assert np.abs(values[:, 0] - exact).max() < 2e-3, "an index into the new images is none into all"
    digest = manifests.read(folder).digest
    sent = [path.name for path in (Path(SparkFiles.getRootDirectory()) / "sent").iterdir()]
    assert f"{digest}-train-images.npy" not in sent, "the images that were there already go to no executor"


def test_features_that_another_job_removes_meanwhile_are_computed_too(
    embed: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert embed(prepare(tmp_path / "small", noise(40)), "network.parameters.views=1").code == 0
    compute = embed_run.compute

    def compute_while_another_job_removes(*arguments: Any) -> Pace:
        for path in arguments[4].folder.iterdir():
            path.unlink()
        monkeypatch.setattr(embed_run, "compute", compute)
        return compute(*arguments)

    monkeypatch.setattr(embed_run, "compute", compute_while_another_job_removes)
    grown = embed(prepare(tmp_path / "grown", noise(65)), "network.parameters.views=1")
    assert (grown.code, grown.result["computed"]) == (0, 65), grown.output


def test_more_views_leave_those_that_are_there(embed: Callable[..., Any], tmp_path: Path) -> None:
    folder = prepare(tmp_path / "data", noise(40))
    first = embed(folder, "network.parameters.views=2").result
    more = embed(folder, "network.parameters.views=4").result
    trained = manifests.read(folder).splits["train"]
    assert (first["computed"], more["computed"]) == (40 + trained, 2 * trained)
    assert first["digest"] != more["digest"]


def test_a_damaged_file_is_written_again_from_the_cache(embed: Callable[..., Any], tmp_path: Path) -> None:
    folder = prepare(tmp_path / "data", noise(40))
    digest = embed(folder).result["digest"]
    intact = (folder / "train-features.npy").read_bytes()
    (folder / "train-features.npy").write_bytes(intact[:-10])
    again = embed(folder)
    assert (again.code, again.result["computed"], again.result["digest"]) == (0, 0, digest)
    assert (folder / "train-features.npy").read_bytes() == intact


def test_features_name_the_backbones_file_where_it_is_after_windrow_home_has_moved(
    embed: Callable[..., Any], tmp_path: Path, page: Path
) -> None:
    folder = prepare(tmp_path / "data", noise(40))
    assert embed(folder).code == 0
    description = folder / "features.json"
    known = description.read_text()
    description.write_text(known.replace(str(features.read(folder).backbone.file.parent), "/old/home/backbones"))
    assert not features.read_for(load(page), folder).backbone.file.exists()
    again = embed(folder)
    assert (again.code, again.result["computed"]) == (0, 0)
    assert description.read_text() == known


def test_features_of_another_data_set_or_backbone_are_refused(
    embed: Callable[..., Any], tmp_path: Path, page: Path, small_backbone: Path
) -> None:
    folder, other = prepare(tmp_path / "data", noise(40)), prepare(tmp_path / "other", noise(40, first=100))
    with pytest.raises(DatasetError, match=r"must hold the features of its images; .*; run embed_images\.py on it"):
        features.read(folder)
    assert embed(folder).code == 0
    shutil.copy(folder / "features.json", other)
    with pytest.raises(DatasetError, match=r"must be of the data set in its folder"):
        features.read(other)
    shutil.copy(small_backbone, tmp_path / "twin.keras")
    for override, refusal in (
        (
            "network.backbone=twin.keras",
            r"must be of the page's backbone, .*twin\.keras; got features of .*small\.keras",
        ),
        (
            f"network.backbone_sha256={'ab' * 32}",
            r".*small\.keras, SHA-256 abababababababab; got features of .*small\.keras;",
        ),
        ("network.parameters.views=4", "must have 4 views of a training image, as the page draws them; got 3"),
    ):
        with pytest.raises(DatasetError, match=refusal):
            features.read_for(load(page, [override]), folder)


def test_a_near_copy_in_the_test_split_is_named(embed: Callable[..., Any], tmp_path: Path) -> None:
    folder = prepare(tmp_path / "data", noise(60, first=300))
    manifest = manifests.read(folder)
    tests, trained = (np.load(folder / f"{split}-images.npy") for split in ("test", "train"))
    tests[3] = trained[5]
    tests[3, 4, 4, 0] ^= 1
    np.save(folder / "test-images.npy", tests)
    (folder / "test-hashes.npy").unlink()  # computed again from the images
    done = embed(folder)
    copies = done.result["near_copies"]
    assert copies["tests"] >= 1
    assert ["test image 3", "train image 5"] in copies["examples"]
    assert len(copies["examples"]) <= 10
    assert 3 in json.loads((folder / "features.json").read_text())["near_copies"]["tests"]
    assert "test image 3 ~ train image 5" in done.output
    assert manifest.splits["test"] > 3


def test_a_page_without_a_backbone_exits_with_2(embed: Callable[..., Any], tmp_path: Path, page: Path) -> None:
    page.write_text("name: plain\nspace: {units: {type: int, low: 1, high: 2}}\n")
    done = embed(prepare(tmp_path / "data", noise(40)))
    assert done.code == 2
    assert "features need a backbone; got none in network.backbone; set it" in done.error


def test_a_backbone_that_is_not_there_exits_with_2(embed: Callable[..., Any], tmp_path: Path) -> None:
    done = embed(prepare(tmp_path / "data", noise(40)), "network.backbone=absent.keras")
    assert done.code == 2
    assert "network.backbone must be a file that is there" in done.error
    assert not (tmp_path / "data" / "features.json").exists()


def test_images_of_another_shape_are_refused(embed: Callable[..., Any], tmp_path: Path) -> None:
    done = embed(prepare(tmp_path / "data", noise(40)[:, :6]))
    assert done.code == 2
    assert "images must have the backbone's shape, 8x8x3; got 6x8x3; prepare them again" in done.error


def test_a_folder_without_a_data_set_is_refused(embed: Callable[..., Any], tmp_path: Path) -> None:
    done = embed(tmp_path / "nothing")
    assert done.code == 2
    assert "must hold a prepared data set" in done.error


def no_network(path: Path) -> None:
    path.write_bytes(b"no network")


def no_pooled_output(path: Path) -> None:
    import keras

    layers = [keras.layers.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    keras.Sequential(layers).save(path)


def of_any_size(path: Path) -> None:
    import keras

    layers = [keras.layers.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]
    keras.Sequential(layers).save(path)


@pytest.mark.parametrize(
    ("write", "more", "sentence"),
    [
        (no_network, (), "network.backbone must be a .keras file of Keras' own layers, without Lambda; got"),
        (
            no_pooled_output,
            (),
            "odd is a classifier without a global pooling layer; let network.backbone_layer be one of",
        ),
        (of_any_size, (), "must fix the height and width of an image, 1 to 4,096; odd takes (n, any, any, 3); save it"),
        (save_backbone, (f"network.backbone_sha256={'ab' * 32}",), "must be the digest of odd.keras; got abababab"),
    ],
    ids=("no_network", "no_pooled_output", "of_any_size", "another_digest"),
)
def test_a_backbone_that_cannot_be_used_is_refused_before_an_image_is_read(
    run_job: RunJob,
    page: Path,
    tmp_path: Path,
    write: Callable[[Path], object],
    more: tuple[str, ...],
    sentence: str,
) -> None:
    write(tmp_path / "odd.keras")
    settings = [word for each in ("network.backbone=odd.keras", *more) for word in ("--set", each)]
    for job, folder in (("prepare_dataset", "--out"), ("embed_images", "--dataset")):
        data = prepare(tmp_path / "data", noise(40)) if job == "embed_images" else tmp_path / "out"
        done = run_job(job, "--experiment", page, folder, data, *settings)
        assert (done.code, sentence in done.error) == (2, True), done.output
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_weights_that_call_a_function_when_they_are_read_end_the_job_with_2_and_call_nothing(
    embed: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from windrow.model.backbones import lite0

    class Calls:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "written"), "w")

    hostile = tmp_path / lite0.FILE
    hostile.write_bytes(pickle.dumps(Calls(), protocol=2))
    monkeypatch.setattr(lite0, "file", lambda: hostile)
    folder = prepare(tmp_path / "data", noise(40))
    other = embed(folder, "network.backbone=lite0")
    assert (other.code, "must have the SHA-256 579344248a93e230" in other.error) == (2, True), other.output
    monkeypatch.setattr(lite0, "SHA256", sha256(hostile.read_bytes()).hexdigest())
    done = embed(folder, "network.backbone=lite0")
    assert (done.code, "must name nothing but tensors; got" in done.error) == (2, True), done.output
    assert not (tmp_path / "written").exists()


def test_grey_and_tiny_photographs_get_features_and_one_class_is_refused(
    run_job: RunJob, page: Path, tmp_path: Path
) -> None:
    draw = np.random.default_rng(3)
    for name in ("ant", "bee"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            shape = (1, 1, 3) if number == 0 else (3, 2, 3) if number == 1 else (30, 40)  # two dimensions: grey
            pixels = draw.integers(0, 256, shape, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    text = page.read_text().replace(f"source: {tmp_path}", f"source: {tmp_path / 'photos'}")
    page.write_text(text)
    prepared = run_job("prepare_dataset", "--experiment", page, "--out", tmp_path / "data")
    assert (prepared.code, prepared.result["shape"], prepared.result["left_out"]) == (0, [8, 8, 3], 0), prepared.output
    embedded = run_job("embed_images", "--experiment", page, "--dataset", tmp_path / "data")
    assert (embedded.code, embedded.result["images"]) == (0, 40), embedded.output
    values, _ = features.load_split(tmp_path / "data", "train")
    assert np.isfinite(values).all()
    backbones = tmp_path / "home" / "backbones"
    shutil.rmtree(backbones)
    settings = ("--set", f"dataset.source={tmp_path / 'absent'}")
    absent = run_job("prepare_dataset", "--experiment", page, "--out", tmp_path / "alone", *settings)
    assert (absent.code, "no such folder" in absent.error, backbones.exists()) == (2, True, False), absent.output
    shutil.rmtree(tmp_path / "photos" / "bee")
    alone = run_job("prepare_dataset", "--experiment", page, "--out", tmp_path / "alone")
    assert (alone.code, "at least two classes; got only 'ant'; add images of another class" in alone.error) == (2, True)
