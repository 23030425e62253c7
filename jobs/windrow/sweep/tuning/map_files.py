"""Compute once per host what the trained blocks of a backbone take: the maps of the views of each image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.data import hashes, shards
from windrow.data.features import views
from windrow.data.features.embed_worker import BATCH
from windrow.data.splits import StoredFit
from windrow.errors import WindrowError
from windrow.files import clear_when_full, locked, replacing
from windrow.model.blocks import Cut
from windrow.training import runtime
from windrow.training.data import Examples

_LOCK = ".maps.lock"  # one process of this host computes maps, and the others wait for its file


class MapFiles:
    """The maps of a data set's training and validation images on this host."""

    def __init__(
        self, folder: Path, training: Examples, validation: Examples, number: int, fit: StoredFit = "main"
    ) -> None:
        """Compute nothing yet.

        Args:
            folder: this host's folder for files of the data set.
            training, validation: images, uint8 (n, height, width, 3), and labels.
            number: views of an image.
            fit: name under which the images are stored, from Manifest.stored.
        """
        self._folder, self._splits, self._number, self._fit = folder, (training, validation), number, fit

    def of(self, cut: Cut, on_all: bool = False) -> tuple[Examples, Examples]:
        """Return maps in place of training and validation images, float16 (n, views, height, width, channels).

        Validation images have one view. Where the trunk has no layers, the maps are the views themselves, uint8. Maps
        are kept in a file by the weights that they come from, so that the next seed on this host finds them.

        Args:
            cut: the backbone.
            on_all: whether the training images include those for validation.

        Raises:
            WindrowError: a value of a map is too large for float16, or not a number.
            ServiceError: the host's disk is full.
        """
        training, validation = self._splits
        labels = np.concatenate([training.labels, validation.labels])
        file = self._folder / f"maps-{self._key(cut, labels)}.npy"
        with clear_when_full(self._folder), locked(self._folder, _LOCK, quiet=True):
            if not file.exists():
                for older in self._folder.glob(".maps-*.npy.*"):  # of a process that was killed
                    older.unlink()
                with replacing(file) as part:
                    self._write(part, cut, len(labels))
        maps, end = np.load(file, mmap_mode="r"), len(training)
        first = Examples(maps, labels) if on_all else Examples(maps[:end], training.labels)
        return first, Examples(maps[end:, :1], validation.labels)

    def _write(self, file: Path, cut: Cut, count: int) -> None:
        dtype, take = (np.dtype(np.float16), trunk(cut)) if cut.trunk else (np.dtype(np.uint8), np.asarray)
        batches = (take(batch) for split in self._splits for batch in _batches(split.images, self._number))
        # Not through a map of the file: on a full disk, the system ends a process that writes to one.
        shards.write_chunks(file, dtype, (count, self._number, *cut.shape), batches)

    def _key(self, cut: Cut, labels: NDArray[np.int64]) -> str:
        """Return a name for the maps, by the weights of the trunk, the labels, the views, and what they are of."""
        digest = hashlib.sha256(repr((self._number, self._fit, cut.shape)).encode())
        digest.update(np.ascontiguousarray(labels).tobytes())
        for part in cut.trunk:
            digest.update(f"{len(part.layers)} {runtime.weights_digest(part)}".encode())
        return digest.hexdigest()[:32]


def seconds_per_image(cut: Cut, images: NDArray[np.uint8]) -> float:
    """Measure how long the trunk takes for an image, in the second of two batches; 0 without a trunk."""
    if not cut.trunk:
        return 0.0
    take, batch = trunk(cut), np.resize(images, (BATCH, *images.shape[1:]))
    take(batch)
    start = perf_counter()
    take(batch)
    return (perf_counter() - start) / BATCH


def trunk(cut: Cut) -> Callable[[NDArray[np.uint8]], NDArray[np.float16]]:
    """Return the trunk as a function from images, uint8 (n, height, width, 3), n from 1 to BATCH, to maps."""
    import tensorflow as tf

    shape = (BATCH, *cut.trunk[0].input_shape[1:])

    def compute(images: Any) -> Any:
        x = tf.cast(images, tf.float32)
        for part in cut.trunk:
            x = part(x, training=False)
        return x

    graph = tf.function(compute, [tf.TensorSpec(shape, tf.uint8)], autograph=False)
    filled = np.zeros(shape, np.uint8)

    def take(images: NDArray[np.uint8]) -> NDArray[np.float16]:
        filled[: len(images)], filled[len(images) :] = images, 0
        maps = np.asarray(graph(filled))[: len(images)]
        if not float(np.abs(maps).max()) <= float(np.finfo(np.float16).max):  # NaN must fail
            raise WindrowError(
                f"what a backbone gives before the trained blocks must be finite, and at most 65,504; "
                f"got {float(np.abs(maps).max()):.4g}; change promotion.fine_tune.blocks"
            )
        return maps.astype(np.float16)

    return take


def _batches(images: NDArray[np.uint8], number: int) -> Iterator[NDArray[np.uint8]]:
    """Yield batches of the views of images, all views of an image one after the other."""
    drawn: list[NDArray[np.uint8]] = []
    for image in images:
        key = hashes.of(image[np.newaxis])[0].tobytes() if number > 1 else b""
        drawn += [views.view(image, key, view) for view in range(number)]
        while len(drawn) >= BATCH:
            yield np.stack(drawn[:BATCH])
            drawn = drawn[BATCH:]
    if drawn:
        yield np.stack(drawn)
