"""Sources: what each gives, and what is said where one is not sound."""

# ruff: noqa: RUF001

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from windrow.data import published, sources
from windrow.data.published import FILE_NAMES, Published
from windrow.errors import DatasetError, DownloadError, UserError
from windrow.experiment import BUILT_IN_SOURCES, DatasetSection

MakeMirror = Callable[..., Any]
Bytes = Callable[[np.ndarray], bytes]


def load(source: str | Path, tmp_path: Path, **settings: Any) -> sources.Source:
    return sources.load(DatasetSection(source=str(source), **settings), tmp_path / "downloads")


def replace(folder: Path, name: str, array: np.ndarray, idx_bytes: Bytes) -> None:
    (folder / name).write_bytes(gzip.compress(idx_bytes(array)))


def test_a_source_that_is_not_there_lists_what_is(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        load(tmp_path / "absent", tmp_path)
    assert str(caught.value).startswith("dataset.source must be digits, mnist, fashion_mnist or a folder; got ")
    assert f"no such folder: {tmp_path / 'absent'}; put one folder of images per class there" in str(caught.value)


def test_a_mistyped_source_gets_a_guess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"got 'fashion-mnist'; did you mean fashion_mnist\?"):
        load("fashion-mnist", tmp_path)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="no such folder"):
        load(tmp_path / "file", tmp_path)


@pytest.mark.parametrize("name", FILE_NAMES)
def test_three_of_four_idx_files_are_not_enough(tmp_path: Path, idx_folder: Path, name: str) -> None:
    (idx_folder / name).unlink()
    kind = name.replace("t10k", "test").rsplit("-", 2)[0]
    with pytest.raises(DatasetError, match=f"must hold four IDX files; got none for {kind}; name them as MNIST does"):
        load(idx_folder, tmp_path)


@pytest.mark.parametrize("name", FILE_NAMES)
def test_a_truncated_idx_file_is_named(tmp_path: Path, idx_folder: Path, name: str) -> None:
    content = gzip.decompress((idx_folder / name).read_bytes())
    (idx_folder / name).write_bytes(gzip.compress(content[:-3]))
    with pytest.raises(DatasetError, match=f"{name} must hold .* values .*; got .*; fetch it again"):
        load(idx_folder, tmp_path)


def test_test_images_of_another_size_are_refused(tmp_path: Path, idx_folder: Path, idx_bytes: Bytes) -> None:
    replace(idx_folder, "t10k-images-idx3-ubyte.gz", np.zeros((20, 5, 4)), idx_bytes)
    with pytest.raises(DatasetError, match="images of one size; got 4 x 4 x 1 and 5 x 4 x 1"):
        load(idx_folder, tmp_path)


def test_test_labels_that_training_lacks_are_refused(tmp_path: Path, idx_folder: Path, idx_bytes: Bytes) -> None:
    replace(idx_folder, "t10k-labels-idx1-ubyte.gz", np.arange(20), idx_bytes)
    with pytest.raises(DatasetError, match=r"got \[10, 11, .*\] besides"):
        load(idx_folder, tmp_path)


def test_two_data_sets_in_one_folder_are_refused(tmp_path: Path, idx_folder: Path) -> None:
    for name in FILE_NAMES:
        shutil.copy(idx_folder / name, idx_folder / f"emnist-letters-{name}")
    with pytest.raises(DatasetError, match="must hold one data set; got emnist-letters-train-images"):
        load(idx_folder, tmp_path)


def test_idx_files_are_read_gzipped_or_not_and_under_either_name(tmp_path: Path, idx_folder: Path) -> None:
    before = load(idx_folder, tmp_path)
    for name in FILE_NAMES:
        plain = idx_folder / name.removesuffix(".gz").replace("t10k", "test").replace("-idx", ".idx")
        plain.write_bytes(gzip.decompress((idx_folder / name).read_bytes()))
        (idx_folder / name).unlink()
    after = load(idx_folder, tmp_path)
    np.testing.assert_array_equal(before.train_images, after.train_images)
    assert (after.name, after.labels, after.train_images.shape) == ("small", tuple("0123456789"), (40, 4, 4, 1))


def test_a_relative_folder_starts_where_the_command_runs(
    tmp_path: Path, idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load("small", tmp_path).name == "small"
    assert sources.origin(DatasetSection(source="small")) == str(idx_folder)


def test_label_values_need_not_begin_at_zero(tmp_path: Path, idx_folder: Path, idx_bytes: Bytes) -> None:
    replace(idx_folder, "train-labels-idx1-ubyte.gz", np.arange(40) % 2 * 4 + 1, idx_bytes)
    replace(idx_folder, "t10k-labels-idx1-ubyte.gz", np.full(20, 5), idx_bytes)
    source = load(idx_folder, tmp_path)
    assert source.labels == ("1", "5")
    assert source.train_labels[:4].tolist() == [0, 1, 0, 1]
    assert set(source.test_labels.tolist()) == {1}  # type: ignore[union-attr]


def test_labels_txt_names_the_classes(tmp_path: Path, idx_folder: Path) -> None:
    (idx_folder / "labels.txt").write_text("zero\neins\ndva\n")
    assert load(idx_folder, tmp_path).labels == ("zero", "eins", "dva", *"3456789")


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\x0c", "\x1e"])
def test_a_character_that_ends_no_line_moves_no_name_to_another_class(
    character: str, tmp_path: Path, idx_folder: Path
) -> None:
    (idx_folder / "labels.txt").write_text(f"zero{character}\neins\n", encoding="utf-8")
    assert load(idx_folder, tmp_path).labels[1:3] == ("eins", "2")


def test_a_folder_whose_path_is_no_text_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """No manifest could name it. A page can name it only by a link."""
    folder = tmp_path / "p\udcff" / "photos"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder)
    section = DatasetSection(source=str(tmp_path / "link"))
    with pytest.raises(DatasetError, match=r"must be UTF-8; got '.*p\\udcff/photos'; rename its folders"):
        sources.check_there(section)


def test_the_fingerprint_of_a_folder_follows_its_files(idx_folder: Path) -> None:
    section = DatasetSection(source=str(idx_folder))
    before = sources.fingerprint(section)
    assert sources.fingerprint(section) == before
    os.utime(idx_folder / FILE_NAMES[0], (1, 1))
    assert sources.fingerprint(section) != before


def test_labels_txt_may_begin_with_a_byte_order_mark_and_must_be_utf8(tmp_path: Path, idx_folder: Path) -> None:
    (idx_folder / "labels.txt").write_text("zero \neins\n", encoding="utf-8-sig")
    assert load(idx_folder, tmp_path).labels[:2] == ("zero", "eins")
    (idx_folder / "labels.txt").write_text("café", encoding="latin-1")
    with pytest.raises(UserError, match=r"labels.txt must be UTF-8 text; got byte 0xe9; save it as UTF-8 \(line 1\)"):
        load(idx_folder, tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_labels_txt_is_read_in_the_encodings_that_editors_write(
    encoding: str, tmp_path: Path, idx_folder: Path
) -> None:
    (idx_folder / "labels.txt").write_text("größe\r\nяблоко\n", encoding=encoding)
    assert load(idx_folder, tmp_path).labels[:2] == ("größe", "яблоко")


@pytest.mark.parametrize("keep", [True, False], ids=["next to the files", "alone"])
def test_mnist_is_read_as_kaggle_packs_it(keep: bool, tmp_path: Path, idx_folder: Path) -> None:
    """A folder for each file, of the file's name, next to the file with another spelling; and what macOS adds."""
    expected = load(idx_folder, tmp_path)
    for name in FILE_NAMES:
        plain = name.removesuffix(".gz")
        content = gzip.decompress((idx_folder / name).read_bytes())
        (idx_folder / name).unlink()
        (idx_folder / plain).mkdir()
        (idx_folder / plain / plain).write_bytes(content)
        if keep:
            (idx_folder / plain.replace("-idx", ".idx")).write_bytes(content)
        (idx_folder / f"._{plain}").touch()
    (idx_folder / "__MACOSX").mkdir()
    found = load(idx_folder, tmp_path)
    assert found.labels == expected.labels
    np.testing.assert_array_equal(found.train_images, expected.train_images)


@pytest.mark.parametrize(("kind", "number"), [(">i1", 9), (">i2", 11), (">i4", 12)])
def test_labels_may_be_integers_of_other_widths(kind: str, number: int, tmp_path: Path, idx_folder: Path) -> None:
    expected = load(idx_folder, tmp_path)
    for name, count in (("train-labels-idx1-ubyte", 40), ("t10k-labels-idx1-ubyte", 20)):
        header = bytes([0, 0, number, 1]) + count.to_bytes(4, "big")
        (idx_folder / f"{name}.gz").unlink()
        (idx_folder / name.replace("ubyte", "int")).write_bytes(header + (np.arange(count) % 10).astype(kind).tobytes())
    found = load(idx_folder, tmp_path)
    np.testing.assert_array_equal(found.train_labels, expected.train_labels)
    assert found.labels == expected.labels


def test_labels_below_zero_are_refused(tmp_path: Path, idx_folder: Path) -> None:
    (idx_folder / "train-labels-idx1-ubyte.gz").unlink()
    values = (np.arange(40) - 1).astype(">i4")
    header = bytes([0, 0, 12, 1]) + (40).to_bytes(4, "big")
    (idx_folder / "train-labels-idx1-int").write_bytes(header + values.tobytes())
    with pytest.raises(DatasetError, match="must hold labels from 0 on; got -1; number the classes from 0"):
        load(idx_folder, tmp_path)


def test_the_fingerprint_follows_images_in_linked_folders(tmp_path: Path) -> None:
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    for folder in (photos / "cat", elsewhere):
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(b"one")
    (photos / "dog").symlink_to(elsewhere)
    section = DatasetSection(source=str(photos))
    before = sources.fingerprint(section)
    assert sources.fingerprint(section) == before
    (elsewhere / "1.png").write_bytes(b"another")
    assert sources.fingerprint(section) != before


@pytest.mark.parametrize("split", ["", "train", "test"])
def test_the_fingerprint_has_only_what_is_read(tmp_path: Path, split: str) -> None:
    photos = tmp_path / "photos"
    for name in ("cat", "dog") if not split else ("train/cat", "train/dog", "test/cat", "test/dog"):
        (photos / name).mkdir(parents=True)
        (photos / name / "1.png").write_bytes(b"one")
    cats = photos / split / "cat"
    (cats / "up").symlink_to(Path("..") / ".." / "..")
    (cats / "loop").symlink_to(photos)
    (cats / "gone.png").symlink_to(tmp_path / "gone")
    section = DatasetSection(source=str(photos))
    before = sources.fingerprint(section)
    for place in (tmp_path, photos, photos / split):  # what is written there is not read
        (place / "notes.txt").write_text("a note")
        (place / ".hidden.png").touch()
        (place / ".git").mkdir(exist_ok=True)
    for path in (tmp_path / "2.png", photos / "2.png", tmp_path / "more" / "2.png", cats / ".hidden.png"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert sources.fingerprint(section) == before
    (cats / "2.png").touch()
    with_an_image = sources.fingerprint(section)
    assert with_an_image != before
    (cats / "more").mkdir()
    (cats / "more" / "2.png").touch()
    assert sources.fingerprint(section) != with_an_image, "it counts for the limit of files that can't be used"
    (cats.parent / "emu").mkdir()
    assert sources.fingerprint(section) != with_an_image


def test_the_fingerprint_of_idx_files_has_their_classes_names_and_nothing_else(idx_folder: Path) -> None:
    section = DatasetSection(source=str(idx_folder))
    before = sources.fingerprint(section)
    (idx_folder / "notes.txt").touch()
    (idx_folder / "more").mkdir()
    assert sources.fingerprint(section) == before
    (idx_folder / "labels.txt").write_text("zero\n")
    assert sources.fingerprint(section) != before


def test_digits_are_the_1797_real_ones(tmp_path: Path) -> None:
    source = load("digits", tmp_path)
    assert source.train_images.shape == (1797, 8, 8, 1)
    assert (source.train_images.dtype, source.train_labels.dtype) == (np.uint8, np.int64)
    assert (source.train_images.min(), source.train_images.max()) == (0, 255)
    assert source.test_images is None
    assert source.labels == tuple("0123456789")
    assert not (tmp_path / "downloads").exists()


def test_a_published_set_comes_from_the_pages_mirrors(
    tmp_path: Path, make_mirror: MakeMirror, idx_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch,
    sha256: Callable[[bytes], str],
) -> None:  # fmt: skip
    files = tuple(
        published.RemoteFile(name, sha256(gzip.decompress(content)), of="contents")
        for name, content in idx_files.items()
    )
    home = Published(mirrors=("http://127.0.0.1:1/never-asked/",), files=files, labels=tuple("abcdefghij"))
    monkeypatch.setitem(sources.SOURCES, "mnist", partial(sources._published, home=home))
    mirror = make_mirror(idx_files)
    source = load("mnist", tmp_path, mirrors=[mirror.url])
    assert source.labels == tuple("abcdefghij")
    assert len(mirror.asked) == 4
    assert sorted(path.name for path in (tmp_path / "downloads" / "mnist").glob("*.gz")) == sorted(FILE_NAMES)


def test_the_names_on_a_page_are_those_that_can_be_loaded() -> None:
    assert tuple(sources.SOURCES) == BUILT_IN_SOURCES


def test_a_published_set_that_is_not_the_real_one_is_refused(
    tmp_path: Path, make_mirror: MakeMirror, idx_files: dict[str, bytes]
) -> None:
    mirror = make_mirror(idx_files)
    with pytest.raises(DownloadError, match="another SHA-256 than c59f468a2f672dc8"):
        load("fashion_mnist", tmp_path, mirrors=[mirror.url])
    with pytest.raises(DownloadError, match="another SHA-256 than ba891046e6505d7a"):
        load("mnist", tmp_path, mirrors=[mirror.url])


def test_the_public_homes_are_what_they_should_be() -> None:
    for home in (published.MNIST, published.FASHION_MNIST):
        assert [file.name for file in home.files] == list(FILE_NAMES)
        assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in home.mirrors)
        assert len(home.labels) == 10


def test_the_real_mnist_passes_its_digests(tmp_path: Path, make_mirror: MakeMirror, real_data: Path) -> None:
    mirror = make_mirror({path.name: path.read_bytes() for path in (real_data / "mnist").iterdir()}, cuts=[5_000_000])
    source = load("mnist", tmp_path, mirrors=[mirror.url])
    assert source.train_images.shape == (60_000, 28, 28, 1)
    assert source.test_images is not None
    assert source.test_images.shape == (10_000, 28, 28, 1)
    assert source.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mirror.asked[1] == ("/data/train-images-idx3-ubyte.gz", "bytes=5000000-")


def test_the_real_fashion_mnist_is_read_from_a_folder(tmp_path: Path, real_data: Path) -> None:
    source = load(real_data / "fashion-mnist", tmp_path)
    assert source.train_images.shape == (60_000, 28, 28, 1)
    assert np.bincount(source.train_labels).tolist() == [6000] * 10


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_folder_with_the_files_of_a_built_in_source_is_split_as_that_is_packed_or_not(
    tmp_path: Path, real_data: Path, name: str
) -> None:
    assert not load(real_data / name, tmp_path).own
    for path in (real_data / name).iterdir():
        (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    assert not load(tmp_path, tmp_path).own


def test_other_idx_files_are_the_users_own(tmp_path: Path, idx_folder: Path) -> None:
    assert load(idx_folder, tmp_path).own
