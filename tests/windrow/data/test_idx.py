"""IDX files: whatever the bytes are, there is an array or a DatasetError."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.data import idx
from windrow.errors import DatasetError

Bytes = Callable[[np.ndarray], bytes]
IMAGES = np.arange(24).reshape(2, 3, 4)
WHOLE = bytes([0, 0, 8, 3]) + np.array([2, 3, 4], ">u4").tobytes() + bytes(range(24))


def parse(content: bytes, dimensions: tuple[int, ...] = (3,)) -> np.ndarray:
    return idx.parse(io.BytesIO(content), "file", dimensions)


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(DatasetError):
        parse(WHOLE[:length])


@given(st.binary(max_size=200))
def test_any_bytes_give_an_array_or_a_dataset_error(content: bytes) -> None:
    try:
        array = parse(content, (1, 3, 4))
    except DatasetError:
        return
    assert array.nbytes > 0


@given(st.integers(0, 15), st.integers(0, 255))
def test_a_wrong_byte_in_the_header_gives_the_same_array_or_a_dataset_error(place: int, value: int) -> None:
    mutated = bytearray(WHOLE)
    mutated[place] = value
    try:
        array = parse(bytes(mutated))
    except DatasetError:
        return
    assert bytes(mutated) == WHOLE
    assert array.shape == (2, 3, 4)


@given(st.data())
def test_a_damaged_gzip_file_is_refused_or_unharmed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = gzip.compress(WHOLE, mtime=0)
    content = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.gz"
    path.write_bytes(content)
    try:
        array = idx.read(path, (3,))
    except DatasetError:
        return
    assert array.tobytes() == bytes(range(24))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with 00 00; got an empty file"),
        (b"\x89PNG\r\n", "got 89 50 4e 47"),
        (bytes([0, 0, 13, 3]) + WHOLE[4:], "unsigned bytes (type 0x08); got type 0x0d; convert it"),
        (bytes([0, 0, 8, 1]) + WHOLE[4:], "must have 3 dimensions; got 1; are images and labels swapped?"),
        (WHOLE[:10], "begin with 3 sizes of 4 bytes; got 6 bytes"),
        (WHOLE[:-1], "must hold 24 values (2 x 3 x 4); got 23; fetch it again"),
        (WHOLE + b"\0", "must hold 24 values (2 x 3 x 4); got more"),
        (bytes([0, 0, 8, 3]) + bytes(12), "must not be empty; got sizes 0 x 0 x 0"),
    ],
)
def test_a_message_has_the_rule_and_what_was_found(content: bytes, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        parse(content)
    assert message in str(caught.value)


def test_a_header_that_claims_exabytes_reserves_no_memory() -> None:
    with pytest.raises(DatasetError, match="got 1;"):
        parse(bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"\0")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_plain_and_gzipped_files_read_the_same(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "file").write_bytes(pack(WHOLE))
    array = idx.read(tmp_path / "file", (3,))
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, IMAGES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent must be a file that can be read; got No such file"):
        idx.read(tmp_path / "absent", (3,))


def test_labels_for_other_images_are_refused(tmp_path: Path, idx_bytes: Bytes) -> None:
    (tmp_path / "images").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "labels").write_bytes(idx_bytes(np.zeros(3)))
    with pytest.raises(DatasetError, match="as many images as labels; got 2 and 3"):
        idx.read_pair(tmp_path / "images", tmp_path / "labels")


@pytest.mark.parametrize(("shape", "expected"), [((2, 4, 4), (2, 4, 4, 1)), ((2, 4, 4, 3), (2, 4, 4, 3))])
def test_grey_and_colour_images_get_a_channel_axis(
    tmp_path: Path, idx_bytes: Bytes, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    (tmp_path / "images").write_bytes(idx_bytes(np.zeros(shape)))
    (tmp_path / "labels").write_bytes(idx_bytes(np.array([7, 200])))
    images, labels = idx.read_pair(tmp_path / "images", tmp_path / "labels")
    assert images.shape == expected
    assert labels.dtype == np.int64
    assert labels.tolist() == [7, 200]


def test_images_of_two_channels_are_refused(tmp_path: Path, idx_bytes: Bytes) -> None:
    (tmp_path / "images").write_bytes(idx_bytes(np.zeros((1, 4, 4, 2))))
    (tmp_path / "labels").write_bytes(idx_bytes(np.zeros(1)))
    with pytest.raises(DatasetError, match="1 or 3 channels; got 2"):
        idx.read_pair(tmp_path / "images", tmp_path / "labels")


@pytest.mark.parametrize(
    "names",
    [
        ("Train-Images-idx3-ubyte", "Train-Labels-idx1-ubyte", "T10K-Images-idx3-ubyte.GZ", "T10k-Labels-IDX1-ubyte"),
        ("train-images.idx", "train-labels.idx", "t10k-images.idx.gz", "test-labels.idx"),
        ("train-images-idx3-ubyte.idx", "train-labels-idx1-ubyte.idx", "test-images.idx", "test-labels.IDX"),
        (
            "emnist-train-images.idx3-ubyte",
            "emnist-train-labels.idx",
            "emnist-t10k-images.idx",
            "emnist-t10k-labels.idx",
        ),
    ],
)
def test_idx_files_are_found_in_any_case_and_ending(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in (*names, "my-train-images.index", "train-images.txt", "train-images.idx.bak"):
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in idx.chosen(tmp_path)] == list(names)
    (tmp_path / "letters-train-images.idx").write_bytes(b"")
    with pytest.raises(DatasetError, match="must hold one data set"):
        idx.chosen(tmp_path)
