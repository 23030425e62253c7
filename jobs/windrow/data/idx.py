"""Read the IDX format of MNIST and similar data sets, plain or gzipped.

    2 bytes    zero
    1 byte     type of the values: 0x08 for unsigned bytes; labels may also be 0x09, 0x0b or 0x0c for signed integers
    1 byte     number of dimensions
    4 bytes    size of a dimension, big-endian, repeated for each dimension
    the rest   the values, last dimension fastest

Source of the format: http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from windrow.data.image_files.listed import visible
from windrow.data.published import FILE_NAMES
from windrow.errors import DatasetError
from windrow.plural import counted

_UNSIGNED_BYTE = 0x08
_LABEL_TYPES = {_UNSIGNED_BYTE: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4"}
_BYTES = {_UNSIGNED_BYTE: _LABEL_TYPES[_UNSIGNED_BYTE]}
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 22
_KINDS = ("train-images", "train-labels", "test-images", "test-labels")


def files(path: Path) -> list[Path]:
    """Return all IDX files of a folder; empty if it has none."""
    return [file for kind in _KINDS for file in _files(path, kind)]


def chosen(path: Path) -> list[Path]:
    """Return the four IDX files of a folder: training images and labels, test images and labels.

    Raises:
        DatasetError: the folder lacks one of them, or holds files of more than one data set.
    """
    found = {kind: _files(path, kind) for kind in _KINDS}
    if missing := [kind for kind, some in found.items() if not some]:
        raise DatasetError(
            f"{path} must hold four IDX files; got none for {', '.join(missing)}; "
            f"name them as MNIST does: {', '.join(FILE_NAMES)}"
        )
    for some in found.values():
        if len({re.sub(r"\.gz$", "", file.name, flags=re.IGNORECASE).replace(".idx", "-idx") for file in some}) > 1:
            names = ", ".join(file.name for file in some)
            raise DatasetError(f"{path} must hold one data set; got {names}; move the others to their own folders")
    return [some[0] for some in found.values()]


def _files(path: Path, kind: str) -> list[Path]:
    """Return the IDX files of a kind such as train-images. In a file's name, "t10k" means test, as in MNIST.

    Names are in any case; some archives end in .idx. A file may be in a folder of its own name, as Kaggle packs
    MNIST; without one outside such a folder, it counts.
    """
    form = r"([-.]idx\d-(ubyte|byte|short|int)(\.idx)?|\.idx)(\.gz)?"
    pattern = re.compile(rf"(.+[-_.])?{kind.replace('test', '(t10k|test)')}{form}", re.IGNORECASE)
    found = sorted(file for file in visible(path) if pattern.fullmatch(file.name))
    nested = [file / inner for file in found if file.is_dir() for inner in (file.name, f"{file.name}.gz")]
    return [file for file in found if file.is_file()] or [file for file in nested if file.is_file()]


def read_pair(images_path: Path, labels_path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images, uint8 (n, h, w, c) with c 1 or 3, and their labels, int64 (n,), 0 or more.

    Raises:
        DatasetError: a file can't be read, is incomplete or damaged, or the two files don't belong together.
    """
    images = read(images_path, dimensions=(3, 4))
    labels = read(labels_path, dimensions=(1,), types=_LABEL_TYPES)
    if (lowest := int(labels.min())) < 0:
        raise DatasetError(f"{labels_path} must hold labels from 0 on; got {lowest}; number the classes from 0")
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.shape[3] not in (1, 3):
        raise DatasetError(
            f"{images_path} must hold images of 1 or 3 channels; got {images.shape[3]}; convert them to grey or RGB"
        )
    if len(images) != len(labels):
        raise DatasetError(
            f"{images_path.name} and {labels_path.name} must hold as many images as labels; "
            f"got {len(images)} and {len(labels)}; take both from the same data set"
        )
    return images, labels.astype(np.int64)


def read(path: Path, dimensions: tuple[int, ...], types: Mapping[int, str] = _BYTES) -> NDArray[Any]:
    """Return the array in an IDX file, plain or gzipped.

    Args:
        path: the file.
        dimensions: the legal numbers of dimensions.
        types: the legal types of values: the number in the header → NumPy's name.

    Raises:
        DatasetError: the file can't be read, or is not a complete and valid IDX file.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            # GzipFile reads like a file, but its stub does not say so.
            stream = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if zipped else file
            return parse(stream, str(path), dimensions, types)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} must be a whole gzip file; got {error}; fetch it again") from error
    except OSError as error:
        raise DatasetError(f"{path} must be a file that can be read; got {error.strerror}; check the path") from error


def parse(stream: BinaryIO, name: str, dimensions: tuple[int, ...], types: Mapping[int, str] = _BYTES) -> NDArray[Any]:
    """Return the array in a stream of IDX bytes. `name` is the file's name in error messages.

    Raises:
        DatasetError: the first four bytes, the sizes or the length is wrong.
    """
    shape, kind = _parse_header(stream, name, dimensions, types)
    expected, width = math.prod(shape), np.dtype(kind).itemsize
    # Read one byte more than needed: this detects trailing bytes, and makes gzip verify its checksum.
    values = _take(stream, expected * width + 1)
    if len(values) != expected * width:
        sizes = " x ".join(map(str, shape))
        got = "more" if len(values) > expected * width else str(len(values) // width)
        raise DatasetError(f"{name} must hold {counted(expected, 'value')} ({sizes}); got {got}; fetch it again")
    return np.frombuffer(values, dtype=kind).reshape(shape)


def _parse_header(
    stream: BinaryIO, name: str, dimensions: tuple[int, ...], types: Mapping[int, str]
) -> tuple[tuple[int, ...], str]:
    magic = _take(stream, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DatasetError(
            f"{name} must be an IDX file, which begins with 00 00; got {magic.hex(' ') or 'an empty file'}"
        )
    if magic[2] not in types:
        legal = "unsigned bytes (type 0x08)" if types is _BYTES else "integers (type 0x08, 0x09, 0x0b or 0x0c)"
        raise DatasetError(f"{name} must hold {legal}; got type 0x{magic[2]:02x}; convert it")
    count = magic[3]
    if count not in dimensions:
        legal = " or ".join(map(str, dimensions))
        raise DatasetError(f"{name} must have {legal} dimensions; got {count}; are images and labels swapped?")
    sizes = _take(stream, 4 * count)
    if len(sizes) < 4 * count:
        begin = f"{counted(count, 'size')} of 4 bytes"
        raise DatasetError(f"{name} must begin with {begin}; got {counted(len(sizes), 'byte')}; fetch it again")
    shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
    if 0 in shape:
        raise DatasetError(f"{name} must not be empty; got sizes {' x '.join(map(str, shape))}; take another file")
    return shape, types[magic[2]]


def _take(stream: BinaryIO, count: int) -> bytearray:
    """Return up to `count` bytes, read in chunks: read(count) would allocate whatever a broken header claims."""
    taken = bytearray()
    while len(taken) < count:
        chunk = stream.read(min(_CHUNK_BYTES, count - len(taken)))
        if not chunk:
            break
        taken += chunk
    return taken
