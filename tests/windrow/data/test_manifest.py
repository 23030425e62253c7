"""A manifest is whole or absent, and knows when a file under it changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from windrow.data import manifest as manifests
from windrow.data.manifest import Manifest
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
        splits={"train": 3},
        files={"train-images.npy": hashlib.sha256(b"pixels").hexdigest()},
        settings={"seed": 0},
        left_out={"cat/1.png": "broken"},
    )
    manifests.write(tmp_path, made)
    return made


def test_it_reads_back_as_written(tmp_path: Path, manifest: Manifest) -> None:
    assert manifests.read(tmp_path) == manifest


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
