"""Any IDX file, plain or packed, is an array of its own bytes or refused with a sentence."""

from __future__ import annotations

import gzip
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
from windrow.data import idx
from windrow.errors import DatasetError

from fuzz import layers
from fuzz.bounds import bounded

LONGEST = 600
_CUT = b"\xff\xfe\xfd"
"""What divides the images' file from the labels'."""
TOKENS = [
    "\0\0\x08\1",
    "\0\0\x08\3",
    "\0\0\x08\4",
    "\0\0\x09\1",
    "\0\0\x0b\1",
    "\0\0\x0c\1",
    "\0\0\0\2",
    "\x7f\udcff\udcff\udcff",
]


def _idx(kind: int, shape: tuple[int, ...], values: bytes) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + values


def _seeds() -> Iterator[bytes]:
    images, labels = _idx(8, (2, 3, 4), bytes(range(24))), _idx(8, (2,), b"\0\1")
    yield images + _CUT + labels
    yield gzip.compress(images, mtime=0) + _CUT + gzip.compress(labels, mtime=0)
    yield _idx(8, (2, 2, 2, 3), bytes(range(24))) + _CUT + _idx(0x0B, (2,), b"\0\1\0\7")
    yield images + _CUT + _idx(0x0C, (2,), b"\0\0\0\1\xff\xff\xff\xff")
    yield _idx(8, (1, 1, 1), b"\1") + _CUT + _idx(9, (1,), b"\1")
    yield _idx(8, (2**32 - 1, 2**32 - 1, 2**32 - 1), b"") + _CUT + labels
    yield b""


SEEDS = list(_seeds())


def layer(data: bytes, chance: Random) -> layers.Layer | None:
    """Unpack the images or the labels."""
    images, cut, labels = data.partition(_CUT)
    if chance.random() < 0.5 and (found := layers.of_packed(images, chance)):
        return found[0], lambda changed: found[1](changed) + cut + labels
    found = layers.of_packed(labels, chance)
    return found and (found[0], lambda changed: images + cut + found[1](changed))


def check(data: bytes) -> None:
    """Read the bytes before the cut as images, and those after it as their labels."""
    first, _, second = data.partition(_CUT)
    with tempfile.TemporaryDirectory(prefix="windrow-fuzz-") as folder:
        files = [Path(folder) / "train-images.idx3-ubyte.gz", Path(folder) / "train-labels.idx1-ubyte"]
        for file, content in zip(files, (first, second), strict=True):
            file.write_bytes(content)
        try:
            with bounded(mebibytes=100, seconds=3):
                images, labels = idx.read_pair(*files)
        except DatasetError as error:
            str(error).encode()
            return
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert images.ndim == 4
    assert labels.shape == (len(images),)
    assert images.shape[3] in (1, 3)
    assert labels.min() >= 0
    assert images.size
