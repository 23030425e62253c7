"""Compute once per host what the trained blocks of a backbone take: the maps of each image and its mirror image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from windrow.data import hashes
from windrow.data.features import views
from windrow.data.features.embed_worker import BATCH
from windrow.errors import WindrowError
from windrow.files import replacing
from windrow.model.blocks import Cut
from windrow.training import runtime
from windrow.training.data import Examples


def examples(cut: Cut, images: Examples, number: int, folder: Path) -> Examples:
    """Return maps of images in place of the images, float16 (n, views, height, width, channels); labels stay.

    Where the trunk has no layers, the maps are the views themselves, uint8. Maps are kept in a file by the weights that
    they come from, so that the next seed on this host finds them.

    Args:
        cut: the backbone.
        images: images and their labels.
        number: views of an image, as a head has learned from.
        folder: this host's folder for files of the data set.

    Raises:
        WindrowError: a value of a map is too large for float16, or not a number.
    """
    if not cut.trunk and number == 1:
        return Examples(images.images[:, np.newaxis], images.labels)
    file = folder / f"maps-{_key(cut, images, number)}.npy"
    if not file.exists():
        dtype, take = (np.dtype(np.float16), trunk(cut)) if cut.trunk else (np.dtype(np.uint8), np.asarray)
        # Two workers may do this at once. Their files are equal, and the second takes the place of the first.
        with replacing(file) as part:
            maps = open_memmap(part, "w+", dtype, (len(images), number, *cut.shape))
            rows = maps.reshape(-1, *cut.shape)
            for start, batch in _batches(images.images, number):
                rows[start : start + len(batch)] = take(batch)
            maps.flush()
    return Examples(np.load(file, mmap_mode="r"), images.labels)


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


def _batches(images: NDArray[np.uint8], number: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield batches of the views of images, all views of an image together, each with the number of its first row."""
    drawn: list[NDArray[np.uint8]] = []
    done = 0
    for image in images:
        key = hashes.of(image[np.newaxis])[0].tobytes() if number > 1 else b""
        drawn += [views.view(image, key, view) for view in range(number)]
        while len(drawn) >= BATCH:
            yield done, np.stack(drawn[:BATCH])
            done, drawn = done + BATCH, drawn[BATCH:]
    if drawn:
        yield done, np.stack(drawn)


def _key(cut: Cut, images: Examples, number: int) -> str:
    """Return a name for maps, by the weights of the trunk, its layers, the labels of the split, and the views."""
    digest = hashlib.sha256(repr((number, cut.shape, len(images))).encode())
    digest.update(np.ascontiguousarray(images.labels).tobytes())
    for part in cut.trunk:
        digest.update(f"{len(part.layers)} {runtime.weights_digest(part)}".encode())
    return digest.hexdigest()[:32]
