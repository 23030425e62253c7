"""Data sets as MNIST publishes them: four IDX files in a folder."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_idx(path: Path, array: NDArray[np.integer]) -> None:
    """Write an array of bytes as an IDX file, packed where the name ends in .gz."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_split(folder: Path, name: str, images: NDArray[np.integer], labels: NDArray[np.integer]) -> None:
    """Write a split of images and labels; it is train or t10k."""
    folder.mkdir(parents=True, exist_ok=True)
    write_idx(folder / f"{name}-images-idx3-ubyte", images)
    write_idx(folder / f"{name}-labels-idx1-ubyte", labels)
