"""Compute features in a Spark worker: load the backbone once, feed it batches of one size."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.data import hashes, shards
from windrow.data.features import views
from windrow.errors import UserError, WindrowError
from windrow.model import backbone as backbones
from windrow.model import canaries
from windrow.model.backbone import Backbone
from windrow.training import runtime

BATCH = 16
"""Images that the backbone takes in one step; a smaller batch is filled up with zeros: the graph is traced once.

With EfficientNet-Lite0 on one core, an image takes 5.0 ms at 16, 5.4 ms at 32 and 5.7 ms at 64.
"""


@dataclass(frozen=True)
class SentViews:
    """Views of images in one file that was sent to executors.

    Attributes:
        images: the file's name.
        indices: index of each view's image in the file.
        numbers: number of each view.
    """

    images: str
    indices: tuple[int, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class EmbedTask:
    """Views of images that a worker computes; without any, the worker loads the backbone only.

    Attributes:
        backbone: the backbone; its `file` is the name under which it was sent.
        views: the views, file by file.
        threads: cores of the Spark task.
    """

    backbone: Backbone
    views: tuple[SentViews, ...] = ()
    threads: int = 1


@dataclass(frozen=True)
class Embedded:
    """What a worker returns for a task.

    Attributes:
        values: float16 (n, features) as bytes; b"" after an error.
        seconds: time for views and features, without loading the backbone.
        error: what the user can fix, or which worker computes wrongly; "" if the task succeeded.
        fixable: whether the user can fix the error.
    """

    values: bytes = b""
    seconds: float = 0.0
    error: str = ""
    fixable: bool = False


class LoadedBackbone:
    """A backbone's file as a function from images to features.

    Raises:
        UserError: the file is not such a network.
        WindrowError: the features of the canaries are not those that were recorded.
    """

    def __init__(self, backbone: Backbone, file: Path, threads: int = 1) -> None:
        runtime.take_gpus()
        runtime.import_tensorflow(threads)
        import keras
        import tensorflow as tf

        network = keras.models.load_model(file, compile=False)
        self._name, self._shape = backbone.name, (backbone.features,)
        self._batch = np.zeros((BATCH, *backbone.shape), np.uint8)
        signature = tf.TensorSpec(self._batch.shape, tf.uint8)
        self._run = tf.function(lambda images: network(tf.cast(images, tf.float32), training=False), [signature])
        backbones.check(self.features(canaries.images(backbone.shape)), backbone, socket.gethostname())

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return features, float16 (n, features), of images, uint8 (n, height, width, 3), n from 1 to BATCH.

        Raises:
            UserError: the backbone gives something else, or a value that float16 can't hold.
        """
        count = len(images)
        self._batch[:count], self._batch[count:] = images, 0
        found = np.asarray(self._run(self._batch))[:count]
        if found.shape[1:] != self._shape:
            raise UserError(
                f"a backbone must give {self._shape[0]} numbers for an image, as it did when it was read; "
                f"{self._name} gives {found.shape[1:]}; name another layer in network.backbone_layer"
            )
        largest = float(np.abs(found).max())
        if not largest <= float(np.finfo(np.float16).max):  # NaN fails this too
            raise UserError(
                f"a backbone must give finite features, at most 65,504; {self._name} gives {largest:.4g}; "
                "name another layer in network.backbone_layer"
            )
        return found.astype(np.float16)


_loaded: dict[tuple[str, Path], LoadedBackbone] = {}


def load(backbone: Backbone, file: Path, threads: int) -> LoadedBackbone:
    """Return the backbone, loaded unless this Python worker has it; a worker keeps one at a time."""
    key = backbone.digest, file
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = LoadedBackbone(backbone, file, threads)
    return _loaded[key]


def run(task: EmbedTask) -> Embedded:
    """Compute a task's views on the files that Spark sent to this host."""
    from pyspark import SparkFiles

    root = Path(SparkFiles.getRootDirectory()).resolve()  # relative on a cluster's executor
    try:
        network = load(task.backbone, root / task.backbone.file, task.threads)
        if not task.views:
            return Embedded()
        started = perf_counter()
        pixels = (
            image
            for part in task.views
            for image in drawn(shards.open_array(root / part.images, "r"), part.indices, part.numbers)
        )
        values = compute(network, pixels)
        return Embedded(values.tobytes(), perf_counter() - started)
    except WindrowError as error:  # Spark would repeat the task three times, and hide the sentence in a traceback
        return Embedded(error=str(error), fixable=isinstance(error, UserError))


def drawn(images: Any, indices: Sequence[int], numbers: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """Draw views, uint8 (height, width, 3), in their order.

    Args:
        images: images, uint8 (n, height, width, 3).
        indices: index of each view's image.
        numbers: number of each view.
    """
    hashed, key = -1, b""  # the views of an image follow one another: its hash is computed once
    for index, number in zip(indices, numbers, strict=True):
        if views.depends_on_hash(number) and index != hashed:
            hashed, key = index, hashes.of(images[index : index + 1])[0].tobytes()
        yield views.view(images[index], key, number)


def compute(network: LoadedBackbone, pixels: Iterable[NDArray[np.uint8]]) -> NDArray[np.float16]:
    """Return the features of at least one image, uint8 (height, width, 3), as float16 (n, features)."""
    remaining = iter(pixels)
    batches = iter(lambda: list(islice(remaining, BATCH)), [])
    return np.concatenate([network.features(np.stack(batch)) for batch in batches])
