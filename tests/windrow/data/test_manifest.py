"""A manifest is whole or absent, and knows when a file under it changed."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from windrow.data import manifest as manifests
from windrow.data.manifest import Copies, Manifest, NearCopies
from windrow.data.splits import SPLITS
from windrow.errors import DatasetError


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Written to tmp_path, over one file."""
    (tmp_path / "train-images.npy").write_bytes(b"pixels")
    made = Manifest(
        name="small",
        source="/data/small",
        digest="d" * 64,
        shape=(4, 4, 1),
        labels=("cat", "dog"),
        splits={"train": 3, "validation": 2, "test": 1},
        files={"train-images.npy": hashlib.sha256(b"pixels").hexdigest()},
        settings={"seed": 0},
        left_out={"cat/1.png": "broken"},
        class_counts={"train": {"cat": 2, "dog": 1}, "validation": {"cat": 1, "dog": 1}, "test": {"cat": 1, "dog": 0}},
        copies=Copies(1, 2, (("cat/2.png", "cat/3.png"),)),
        near_copies=NearCopies(1, (("cat/4.png", "cat/5.png"),)),
        warnings=("few images",),
    )
    manifests.write(tmp_path, made)
    return made


def test_it_reads_back_as_written(tmp_path: Path, manifest: Manifest) -> None:
    assert manifests.read(tmp_path) == manifest


def test_one_of_an_earlier_version_is_read(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / manifests.FILE
    new = {"class_counts", "copies", "near_copies", "warnings"}
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key not in new}))
    old = manifests.read(tmp_path)
    assert (old.splits, old.class_counts, old.copies.groups, old.warnings) == (manifest.splits, {}, 0, ())
    assert old.lines() == []


def test_its_lines_have_the_images_of_each_class_in_each_split_and_their_copies(
    tmp_path: Path, manifest: Manifest
) -> None:
    expected = [
        "3 train, 2 validation, 1 test images: cat 2/1/1, dog 1/1/0 (train/validation/test)",
        "2 images have the same pixels as another one, e.g. cat/2.png = cat/3.png",
    ]
    assert manifest.lines() == expected
    assert manifests.read(tmp_path).lines() == expected, "the order of splits is not that of the file, by name"


def test_of_many_classes_twenty_are_listed() -> None:
    names = [str(number) for number in range(23)]
    counts = {split: dict.fromkeys(names, 1) for split in ("train", "validation", "test")}
    assert manifests.in_splits(counts, names, 20).endswith("19 1/1/1 and 3 more (train/validation/test)")


def test_guessing_is_the_share_of_the_most_frequent_class(manifest: Manifest) -> None:
    assert [manifest.guessing(split) for split in SPLITS] == [pytest.approx(2 / 3), 0.5, 1.0]
    assert replace(manifest, class_counts={}).guessing("validation") is None


def test_warnings_are_a_markdown_list_with_a_line_of_at_most_300_characters_each(manifest: Manifest) -> None:
    assert manifest.warnings_text() == "What makes figures on this data set less certain:\n\n- few images"
    assert replace(manifest, warnings=()).warnings_text() == ""
    long = replace(manifest, warnings=("a name\nof two lines", "many names " * 100)).short_warnings
    assert long[0] == "a name of two lines"
    assert long[1].endswith("names ...")
    assert 280 < len(long[1]) <= 300


def test_the_classes_before_are_those_of_the_newest_data_set_of_the_source(tmp_path: Path, manifest: Manifest) -> None:
    broken, newest, other = tmp_path / "broken", tmp_path / "newest", tmp_path / "other"
    manifests.write(newest, replace(manifest, labels=("cat", "emu")))
    manifests.write(other, replace(manifest, source="/data/other"))
    broken.mkdir()
    (broken / manifests.FILE).write_text("{}")
    for age, folder in enumerate((broken, other, newest, tmp_path)):
        os.utime(folder / manifests.FILE, (9000 - age, 9000 - age))
    every = [tmp_path, broken, newest, other, tmp_path / "absent"]
    assert manifests.labels_before(every, "/data/small") == ("cat", "emu")
    assert manifests.labels_before([tmp_path, other], "/data/small") == ("cat", "dog")
    assert manifests.labels_before([other, broken], "/data/small") is None


@pytest.mark.parametrize("folder", ["", "absent"])
def test_without_one_the_message_says_what_to_run(tmp_path: Path, folder: str) -> None:
    with pytest.raises(DatasetError, match=r"got no manifest.json \(No such file.*; run prepare_dataset.py into it"):
        manifests.read(tmp_path / folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", '{"name": "small"}'])
def test_one_that_is_not_whole_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / manifests.FILE).write_text(text)
    with pytest.raises(DatasetError, match=r"must be a manifest of this version; got .*; run prepare_dataset.py"):
        manifests.read(tmp_path)


@pytest.mark.parametrize("change", [{"shape": [4, 4]}, {"labels": "ab"}, {"splits": {"train": "many"}}, {"more": 1}])
def test_one_of_another_version_is_refused(tmp_path: Path, manifest: Manifest, change: dict[str, object]) -> None:
    path = tmp_path / manifests.FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DatasetError, match=f"got {next(iter(change))}"):
        manifests.read(tmp_path)


def test_a_file_that_changed_is_named(tmp_path: Path, manifest: Manifest) -> None:
    manifests.verify(tmp_path, manifest)
    (tmp_path / "train-images.npy").write_bytes(b"pixelz")
    with pytest.raises(
        DatasetError, match=r"train-images.npy must be as prepared.*; run prepare_dataset.py into it again"
    ):
        manifests.verify(tmp_path, manifest)


def test_a_file_that_is_gone_is_named(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "train-images.npy").unlink()
    with pytest.raises(DatasetError, match=r"train-images.npy must be there; got No such file"):
        manifests.verify(tmp_path, manifest)
