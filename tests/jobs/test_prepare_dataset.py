"""prepare_dataset.py, refusals and all, on real Spark where the source is a folder of images."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.idx import write_idx, write_split
from harness.web import Web
from PIL import Image
from windrow.data import manifest as manifests
from windrow.data import shards
from windrow.data.splits import SPLITS

pytestmark = pytest.mark.spark
PAGES = Path(__file__).resolve().parents[2] / "dags" / "experiments"
RunJob = Callable[..., Any]


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for name, count in (("train", 40), ("t10k", 20)):
        write_split(tmp_path / "small", name, draw.integers(0, 256, (count, 4, 4)), np.arange(count) % 10)
    return tmp_path / "small"


def prepare(run: RunJob, page: str, out: Path, *overrides: str, **options: Any) -> Any:
    settings = [word for override in overrides for word in ("--set", override)]
    return run("prepare_dataset", "--experiment", PAGES / f"{page}.yaml", "--out", out, *settings, **options)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.source=absent", "dataset.source must be digits, mnist, fashion_mnist or a folder; got 'absent'"),
        ("dataset.sauce=digits", "unknown key 'dataset.sauce'"),
        ("dataset.test=2", "dataset.test"),
    ],
)
def test_a_mistake_of_the_user_exits_with_2(run_job: RunJob, tmp_path: Path, override: str, message: str) -> None:
    done = prepare(run_job, "digits", tmp_path / "out", override)
    assert done.code == 2
    assert message in done.output
    assert "Traceback" not in done.output
    assert done.result == {}
    assert not (tmp_path / "out" / manifests.FILE).exists()


def test_mirrors_that_are_away_exit_with_1_and_the_cure(
    run_job: RunJob, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    mirror = f"http://127.0.0.1:{free_port()}/"
    no_proxy = {"NO_PROXY": "127.0.0.1"}
    done = prepare(run_job, "mnist", tmp_path / "out", f"dataset.mirrors=['{mirror}']", environment=no_proxy)
    assert done.code == 1
    assert f"{mirror}: Connection refused" in done.output
    assert "--set dataset.source=FOLDER" in done.output
    assert "Traceback" not in done.output


def test_a_folder_inside_the_source_is_refused(run_job: RunJob, idx_folder: Path) -> None:
    done = prepare(run_job, "mnist", idx_folder / "out", f"dataset.source={idx_folder}")
    assert done.code == 2
    assert "--out must not be inside the source" in done.output
    assert not (idx_folder / "out").exists()


def test_digits_are_prepared_and_the_second_time_found(run_job: RunJob, tmp_path: Path) -> None:
    done = prepare(run_job, "digits", tmp_path / "out")
    assert done.code == 0, done.output
    manifest = manifests.read(tmp_path / "out")
    assert done.result == {
        "dataset": str(tmp_path / "out"),
        "digest": manifest.digest,
        "shape": [8, 8, 1],
        "classes": 10,
        "labels": list("0123456789"),
        "splits": manifest.splits,
        "class_counts": manifest.class_counts,
        "source": "digits",
        "left_out": 0,
        "copies": {"groups": 0, "images": 0, "examples": []},
        "near_copies": {"images": 0, "examples": []},
        "warnings": [],
    }
    assert "1,151 train, 287 validation, 359 test images: 0 114/28/36, 1 " in done.output
    assert manifest.splits == {"train": 1151, "validation": 287, "test": 359}
    assert manifest.digest.startswith("0178485decfbc50f"), "the README's and the demo's accuracy is on this very split"
    written = (tmp_path / "out" / "train-images.npy").stat().st_mtime_ns
    again = prepare(run_job, "digits", tmp_path / "out")
    assert again.result == done.result
    assert (tmp_path / "out" / "train-images.npy").stat().st_mtime_ns == written
    other = prepare(run_job, "digits", tmp_path / "out", "dataset.seed=1")
    assert other.result["digest"] != done.result["digest"]


def test_a_source_folder_that_changed_is_read_again(run_job: RunJob, tmp_path: Path, idx_folder: Path) -> None:
    first = prepare(run_job, "mnist", tmp_path / "out", f"dataset.source={idx_folder}")
    assert first.code == 0, first.output
    write_idx(idx_folder / "t10k-images-idx3-ubyte", np.random.default_rng(1).integers(0, 256, (20, 4, 4)))
    second = prepare(run_job, "mnist", tmp_path / "out", "dataset.source=small")  # the same, relative
    assert second.result["digest"] != first.result["digest"]


def test_training_images_that_are_test_images_too_are_left_out_and_the_run_goes_on(
    run_job: RunJob, tmp_path: Path, idx_folder: Path
) -> None:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (40, 4, 4))
    write_idx(idx_folder / "t10k-images-idx3-ubyte", np.concatenate([images[:2], draw.integers(0, 256, (18, 4, 4))]))
    for _ in range(2):  # what is prepared already says so as well
        done = prepare(run_job, "mnist", tmp_path / "out", f"dataset.source={idx_folder}", "dataset.seed=3")
        assert done.code == 0, done.output
        assert (
            "left out 2 training images with the pixels of test images: training image 0 (the same pixels as "
            in done.output
        )
        assert (done.result["left_out"], done.result["splits"]["test"]) == (2, 20)


def test_a_prepared_test_split_with_images_of_training_is_refused(run_job: RunJob, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert prepare(run_job, "digits", out).code == 0
    manifest, changed = manifests.read(out), {}
    for name in ("images", "hashes"):
        values, path = np.load(out / f"test-{name}.npy"), out / f"test-{name}.npy"
        values[:3] = np.load(out / f"train-{name}.npy")[:3]
        np.save(path, values)
        changed[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifests.write(out, replace(manifest, files={**manifest.files, **changed}))
    done = prepare(run_job, "digits", out)
    assert done.code == 2
    assert "3 of 359" in done.output
    assert "test image 0 = train image 0; test image 1 = train image 1;" in done.output


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """20 cats that are dark, 20 dogs that are bright, and a file that is no image."""
    for name, value in (("cat", 10), ("dog", 200)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (6, 4), (value, number, 0)).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    return tmp_path / "photos"


def test_a_folder_of_images_is_decoded_by_spark_without_those_that_are_none(
    run_job: RunJob, tmp_path: Path, photos: Path
) -> None:
    done = prepare(run_job, "digits", tmp_path / "out", "dataset.source=photos")
    assert done.code == 0, done.output
    assert "left out 1 of 41 images that can't be decoded: cat/broken.jpg" in done.output
    assert (done.result["shape"], done.result["labels"], done.result["left_out"]) == ([4, 6, 3], ["cat", "dog"], 1)
    images, labels = shards.load_split(tmp_path / "out", "train")
    assert images[:, 0, 0, 0].tolist() == [200 if label else 10 for label in labels]


def test_a_folder_that_grew_keeps_its_splits_and_says_what_is_odd_about_it(
    run_job: RunJob, tmp_path: Path, photos: Path
) -> None:
    """A class is added, an image is copied, one is copied into another class, and a file is renamed."""
    assert prepare(run_job, "digits", tmp_path / "out", "dataset.source=photos").code == 0
    before = {split: set(shards.load_names(tmp_path / "out", split)) for split in SPLITS}
    (photos / "emu").mkdir()
    for number in range(30):
        Image.new("RGB", (6, 4), (100, number, 90)).save(photos / "emu" / f"{number}.png")
    for copy, of in (("cat/again.png", "cat/3.png"), ("emu/other.png", "cat/7.png")):
        shutil.copy(photos / of, photos / copy)
    (photos / "dog" / "0.png").rename(photos / "dog" / "first.png")
    done = prepare(run_job, "digits", tmp_path / "out", "dataset.source=photos")
    assert done.code == 0, done.output
    after = {split: set(shards.load_names(tmp_path / "out", split)) for split in SPLITS}
    for split in SPLITS:
        kept = {name.replace("dog/0.png", "dog/first.png") for name in before[split]} - {"cat/7.png"}
        assert kept == {name for name in after[split] if not name.startswith("emu/") and name != "cat/again.png"}
        assert ("cat/again.png" in after[split]) == ("cat/3.png" in after[split])
        assert sum(done.result["class_counts"][split].values()) == done.result["splits"][split] == len(after[split])
    assert done.result["copies"] == {"groups": 1, "images": 2, "examples": [["cat/3.png", "cat/again.png"]]}
    assert done.result["left_out"] == 3
    assert manifests.read(tmp_path / "out").left_out["emu/other.png"] == "the same pixels as cat/7.png, labelled cat"
    assert done.result["near_copies"]["images"] > 0
    undecoded, classes, disputed, *small, near = done.result["warnings"]
    assert undecoded.startswith("left out 1 of 73 images that can't be decoded: cat/broken.jpg")
    assert classes == "classes since the last preparation: new emu; gone none"
    assert disputed.startswith("left out 2 images whose copies have another label")
    assert [warning.split(": ")[0].split(" ", 1)[1] for warning in small] == ["validation images", "test images"]
    assert "nearly like an image of training or validation, so the test accuracy may be too high" in near
    assert all(done.output.count(f"warning: {warning}\n") == 1 for warning in done.result["warnings"])

    shutil.rmtree(photos / "emu")
    again = prepare(run_job, "digits", tmp_path / "out", "dataset.source=photos")
    assert "warning: classes since the last preparation: new none; gone emu\n" in again.output
    assert again.result["labels"] == ["cat", "dog"]
    back = {split: set(shards.load_names(tmp_path / "out", split)) for split in SPLITS}
    assert "cat/7.png" in set.union(*back.values()), "it has one label again"
    assert [back[split] - {"cat/7.png"} for split in SPLITS] == [
        {name for name in after[split] if not name.startswith("emu/")} for split in SPLITS
    ]


def test_a_class_that_came_or_went_since_an_earlier_run_is_a_warning_although_each_run_has_its_own_folder(
    run_job: RunJob, tmp_path: Path, photos: Path
) -> None:
    def warned(run: str) -> list[str]:
        folder = tmp_path / "runs" / run
        options = ("--out", folder / "dataset", "--runs", folder / "..")
        settings = ("--experiment", PAGES / "digits.yaml", "--set", "dataset.source=photos")
        done = run_job("prepare_dataset", *settings, *options)
        assert done.code == 0, done.output
        return [warning for warning in done.result["warnings"] if "classes since" in warning]

    assert warned("first") == []
    (photos / "dog").rename(photos / "hound")
    for _ in range(2):  # a retry of the task says so as well
        assert warned("second") == ["classes since the last preparation: new hound; gone dog"]
    assert warned("third") == []


@pytest.mark.faults
@pytest.mark.submit
@pytest.mark.usefixtures("cluster_work")
def test_a_folder_of_images_is_the_same_on_a_cluster(
    run_job: RunJob, submit: RunJob, tmp_path: Path, photos: Path
) -> None:
    local = prepare(run_job, "digits", tmp_path / "local", "dataset.source=photos")
    cluster = prepare(submit, "digits", tmp_path / "cluster", "dataset.source=photos", master="local-cluster[2,1,1024]")
    assert cluster.code == 0, cluster.output
    assert cluster.result["digest"] == local.result["digest"]


@pytest.mark.faults
def test_the_real_mnist_is_downloaded_and_checked(run_job: RunJob, tmp_path: Path, real_data: Path) -> None:
    with Web() as web:
        web.serve(real_data / "mnist")
        mirror, no_proxy = f"dataset.mirrors=['{web.address}']", {"NO_PROXY": "127.0.0.1"}
        done = prepare(run_job, "mnist", tmp_path / "out", mirror, environment=no_proxy)
    assert done.code == 0, done.output
    assert done.result["splits"] == {"train": 54_001, "validation": 5_999, "test": 10_000}
    assert done.output.count("downloaded ") == 4
    images, labels = shards.load_split(tmp_path / "out", "test")
    assert (images.shape, labels[:5].tolist()) == ((10_000, 28, 28, 1), [7, 2, 1, 0, 4])
