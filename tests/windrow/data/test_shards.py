"""Shards: whole or absent, the same for the same data, mapped and not copied."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from windrow.data import hashes, shards
from windrow.data import manifest as manifests
from windrow.data.sources import Source
from windrow.data.splits import SPLITS
from windrow.errors import DatasetError, ServiceError
from windrow.experiment import DatasetSection

SECTION = DatasetSection(validation=0.2, test=0.2)


def source_of(count: int, size: int = 4, classes: int = 2) -> Source:
    """`count` images without a test split; the first pixel of each is its number."""
    images = np.random.default_rng(0).integers(0, 256, (count, size, size, 1)).astype(np.uint8)
    images[:, 0, 0, 0] = np.arange(count) % 256
    labels = np.arange(count, dtype=np.int64) % classes
    return Source("made", images, labels, None, None, tuple("abcdefghij"[:classes]))


@pytest.fixture
def source() -> Source:
    return source_of(50)


def test_a_source_that_cannot_be_split_leaves_the_old_data_set_alone(tmp_path: Path, source: Source) -> None:
    old = shards.write(tmp_path, source, SECTION)
    with pytest.raises(DatasetError, match="at least two classes"):
        shards.write(tmp_path, source_of(50, classes=1), SECTION)
    manifests.verify(tmp_path, old)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs root and the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_leaves_no_manifest_and_nothing_half(small_disk: Path, source: Source) -> None:
    shards.write(small_disk, source, SECTION)
    with pytest.raises(ServiceError, match="must have room for the data; got no space left; free some"):
        shards.write(small_disk, source_of(5000, size=28), SECTION)
    assert not (small_disk / manifests.FILE).exists()
    assert not list(small_disk.glob(".aside-*"))
    with pytest.raises(DatasetError, match=r"run prepare_dataset\.py"):
        manifests.read(small_disk)


def test_a_file_size_limit_is_said_too(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(ServiceError, match="got file size limit reached"):
            shards.write(tmp_path / "out", source_of(5000, size=28), SECTION)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_writer_left_is_cleaned_up(tmp_path: Path, source: Source) -> None:
    (tmp_path / ".aside-killed").mkdir()
    (tmp_path / ".aside-killed" / "train-images.npy").write_bytes(b"half")
    shards.write(tmp_path, source, SECTION)
    assert not (tmp_path / ".aside-killed").exists()


def test_every_image_lands_in_one_split_with_its_label(tmp_path: Path, source: Source) -> None:
    manifest = shards.write(tmp_path, source, SECTION)
    assert manifest.splits == {"train": 32, "validation": 8, "test": 10}
    numbers = []
    for split in ("train", "validation", "test"):
        images, labels = shards.load_split(tmp_path, split)
        np.testing.assert_array_equal(images[:, 0, 0, 0] % 2, labels)
        numbers += images[:, 0, 0, 0].tolist()
    assert sorted(numbers) == list(range(50))


def test_images_are_mapped_read_only_uint8_and_labels_int64(tmp_path: Path, source: Source) -> None:
    shards.write(tmp_path, source, SECTION)
    images, labels = shards.load_split(str(tmp_path), "train")
    assert isinstance(images, np.memmap)
    assert (images.dtype, labels.dtype, images.shape[1:]) == (np.uint8, np.int64, (4, 4, 1))
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_executors_need_the_two_files_of_a_split_only(tmp_path: Path, source: Source) -> None:
    shards.write(tmp_path / "whole", source, SECTION)
    (tmp_path / "shipped").mkdir()
    for path in shards.split_files(tmp_path / "whole", "train", "validation"):
        shutil.copy(path, tmp_path / "shipped")
    assert len(shards.load_split(tmp_path / "shipped", "validation")[0]) == 8
    with pytest.raises(DatasetError, match=r"test-images.npy must be a prepared split; got No such file"):
        shards.load_split(tmp_path / "shipped", "test")


def test_hashes_are_in_the_order_of_the_images(tmp_path: Path, source: Source) -> None:
    shards.write(tmp_path, source, SECTION)
    for split in SPLITS:
        np.testing.assert_array_equal(
            shards.load_hashes(tmp_path, split), hashes.of(shards.load_split(tmp_path, split)[0])
        )


def test_names_are_in_the_order_of_the_images_or_numbers(tmp_path: Path, source: Source) -> None:
    shards.write(tmp_path / "numbers", source, SECTION)
    assert shards.load_names(tmp_path / "numbers", "test") == [f"test image {number}" for number in range(10)]
    names = tuple(f"{number}.png" for number in source.train_images[:, 0, 0, 0])
    shards.write(tmp_path / "files", replace(source, own=True, train_names=names), SECTION)
    for split in SPLITS:
        images, _ = shards.load_split(tmp_path / "files", split)
        assert shards.load_names(tmp_path / "files", split) == [f"{number}.png" for number in images[:, 0, 0, 0]]
    shards.write(tmp_path / "files", source, SECTION)
    assert shards.load_names(tmp_path / "files", "test")[0] == "test image 0", "those of an earlier source are gone"


def test_a_data_set_of_an_earlier_version_is_prepared_again(
    tmp_path: Path, source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    made = shards.write(tmp_path, source, DatasetSection())
    kept = {name: digest for name, digest in made.files.items() if "hashes" not in name}
    manifests.write(tmp_path, replace(made, source="digits", files=kept))
    assert shards.existing(tmp_path, DatasetSection()) is None
    assert (
        "no hashes of its images, as Windrow wrote it before 2026-11-27: it is prepared again"
        in capsys.readouterr().err
    )


def test_a_sources_own_test_split_is_kept_in_its_order(tmp_path: Path, source: Source) -> None:
    own = Source("made", source.train_images, source.train_labels, source.train_images, source.train_labels, ("a", "b"))
    assert shards.write(tmp_path, own, SECTION).splits == {"train": 40, "validation": 10, "test": 50}
    np.testing.assert_array_equal(shards.load_split(tmp_path, "test")[0], source.train_images)


def test_the_digest_is_of_the_contents(tmp_path: Path, source: Source) -> None:
    digest = shards.write(tmp_path / "1", source, SECTION).digest
    assert shards.write(tmp_path / "2", source, SECTION).digest == digest
    other_split = shards.write(tmp_path / "3", source, DatasetSection(validation=0.2, test=0.2, seed=1))
    source.train_images[0, 3, 3, 0] ^= 1
    other_pixel = shards.write(tmp_path / "4", source, SECTION)
    other_name = shards.write(tmp_path / "5", Source(*list(source.__dict__.values())[:5], ("a", "c")), SECTION)
    assert len({digest, other_split.digest, other_pixel.digest, other_name.digest}) == 4


def test_chunks_do_not_change_the_files(tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    files = shards.write(tmp_path / "1", source, SECTION).files
    monkeypatch.setattr(shards, "_CHUNK_BYTES", 40)
    assert shards.write(tmp_path / "2", source, SECTION).files == files


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not numpy at all", b"\x80\x04N."])
def test_a_broken_file_is_named(tmp_path: Path, source: Source, content: bytes) -> None:
    shards.write(tmp_path, source, SECTION)
    (tmp_path / "train-labels.npy").write_bytes(content)
    with pytest.raises(
        DatasetError, match=r"train-labels.npy must be a prepared split; got .*; run prepare_dataset.py"
    ):
        shards.load_split(tmp_path, "train")


def test_images_and_labels_of_two_data_sets_are_not_mixed(tmp_path: Path, source: Source) -> None:
    shards.write(tmp_path / "1", source, SECTION)
    shards.write(tmp_path / "2", source_of(20), SECTION)
    shutil.copy(tmp_path / "2" / "train-labels.npy", tmp_path / "1")
    with pytest.raises(DatasetError, match="must hold an image a label; got 32, 12"):
        shards.load_split(tmp_path / "1", "train")


def test_the_same_settings_find_it_and_mirrors_do_not_matter(tmp_path: Path, source: Source) -> None:
    manifest = shards.write(tmp_path, source, SECTION)
    assert shards.existing(tmp_path, SECTION) == manifest
    assert shards.existing(tmp_path, SECTION.model_copy(update={"mirrors": ("http://127.0.0.1/",)})) == manifest


def test_what_was_prepared_before_there_was_a_fit_is_squashed(tmp_path: Path, source: Source) -> None:
    manifest = shards.write(tmp_path, source, SECTION)
    assert manifest.settings.pop("fit") == "squash"
    manifests.write(tmp_path, manifest)
    assert shards.existing(tmp_path, SECTION) == manifest
    assert shards.existing(tmp_path, SECTION.model_copy(update={"fit": "crop"})) is None


BOTH = SECTION.model_copy(update={"fit": "both"})


def test_images_of_both_kinds_are_kept_side_by_side_in_the_splits_of_the_squashed_ones(
    tmp_path: Path, source: Source
) -> None:
    both = replace(source, train_cropped=source.train_images[::-1])
    manifest = shards.write(tmp_path / "both", both, BOTH)
    shards.write(tmp_path / "one", source, SECTION)
    place = {image.tobytes(): index for index, image in enumerate(source.train_images)}
    for split in SPLITS:
        squashed, labels = shards.load_split(tmp_path / "both", split)
        cropped, same = shards.load_split(tmp_path / "both", split, "crop")
        np.testing.assert_array_equal(squashed, shards.load_split(tmp_path / "one", split)[0])
        np.testing.assert_array_equal(labels, same)
        rows = [place[image.tobytes()] for image in squashed]
        np.testing.assert_array_equal(cropped, source.train_images[::-1][rows])
        np.testing.assert_array_equal(shards.load_hashes(tmp_path / "both", split, "crop"), hashes.of(cropped))
    assert manifest.stored == ("main", "crop")
    assert [manifest.fit_of(fit) for fit in manifest.stored] == ["squash", "crop"]
    assert shards.existing(tmp_path / "both", BOTH) == manifest
    assert shards.existing(tmp_path / "both", SECTION) is None


def test_the_digest_is_of_both_kinds_of_images(tmp_path: Path, source: Source) -> None:
    both = replace(source, train_cropped=source.train_images.copy())
    digest = shards.write(tmp_path, both, BOTH).digest
    both.train_cropped[3, 0, 0, 0] ^= 1  # type: ignore[index]
    assert shards.write(tmp_path, both, BOTH).digest != digest
    assert shards.write(tmp_path, source, SECTION).digest != digest
    assert not list(tmp_path.glob("*-crop.npy"))  # of the images that were there before


@pytest.mark.parametrize("change", [{"seed": 1}, {"validation": 0.3}, {"source": "mnist"}])
def test_other_settings_do_not_find_it(tmp_path: Path, source: Source, change: dict[str, object]) -> None:
    shards.write(tmp_path, source, SECTION)
    assert shards.existing(tmp_path, SECTION.model_copy(update=change)) is None


def test_a_damaged_data_set_is_not_taken_and_the_reason_is_told(
    tmp_path: Path, source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    shards.write(tmp_path, source, SECTION)
    (tmp_path / "test-labels.npy").unlink()
    assert shards.existing(tmp_path, SECTION) is None
    assert "test-labels.npy must be there" in capsys.readouterr().err


def test_reading_shards_imports_neither_spark_nor_tensorflow() -> None:
    code = "import sys, windrow.data.shards; print(sorted({'pyspark', 'tensorflow', 'sklearn'} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3] / "jobs")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_of_before_there_were_hashes_has_those_of_its_images(tmp_path: Path) -> None:
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
    np.save(tmp_path / "test-images.npy", images)
    np.save(tmp_path / "test-labels.npy", np.arange(3))
    np.testing.assert_array_equal(shards.load_hashes(tmp_path, "test"), hashes.of(images))
    (tmp_path / "test-hashes.npy").write_bytes(b"no array")
    with pytest.raises(DatasetError, match="must be a prepared split"):
        shards.load_hashes(tmp_path, "test")
