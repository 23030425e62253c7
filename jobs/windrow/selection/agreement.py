"""Check that the backbone inside a network gives from pixels the stored features that the head learned from.

Another backbone, other preprocessing, or features of other images would run without an error, and only label badly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windrow.data import features, shards
from windrow.data.splits import StoredFit
from windrow.errors import StudyError
from windrow.spark import ship_bytes, shipped_bytes

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TOLERANCE = 0.01
"""The largest accepted difference of a feature, as a share of its largest value plus a tenth of the largest of all.

Features are compared, and not scores, because a steep head turns the rounding of large features into any difference of
scores. Features are stored as float16, which is exact to 0.0005 of a value. Processors and libraries add in different
orders, which changes a feature by less than 0.0001 of the largest (model/backbone.py).
"""
IMAGES = 64
"""Number of validation images that are compared: half a second of a mid-sized backbone on one core."""


def check(spark: SparkSession, network: bytes, folder: Path, threads: int, fit: StoredFit = "main") -> float:
    """Compute the features of validation images with the network's own backbone, in a Spark task, and compare them.

    Args:
        network: bytes of a .keras file that composition.compose made.
        folder: the prepared data set with its features.
        threads: number of TensorFlow's threads.
        fit: name under which the network's images are stored, from Manifest.stored.

    Returns:
        The largest difference, as `difference` gives it.

    Raises:
        StudyError: it is above TOLERANCE.
    """
    images, _ = shards.load_split(folder, "validation", fit)
    stored, _ = features.load_split(folder, "validation", fit)
    task = (ship_bytes(spark, network), np.array(images[:IMAGES]), np.array(stored[:IMAGES, 0]), threads)
    spark.sparkContext.setJobDescription("compare pixels with features")
    apart = float(spark.sparkContext.parallelize([task], 1).mapPartitions(_compare_all).collect()[0])
    if not apart <= TOLERANCE:  # NaN must fail
        raise StudyError(
            "a network must give validation images the features that are stored, within "
            f"{TOLERANCE:.0%} of the largest; they differ by {apart:.1%}; "
            "run embed_images.py and sweep.py again, with the backbone as it is now"
        )
    return apart


def _compare_all(tasks: Iterable[tuple[str, NDArray[np.uint8], NDArray[Any], int]]) -> Iterator[float]:
    return iter([difference(shipped_bytes(name), images, stored, threads) for name, images, stored, threads in tasks])


def difference(network: bytes, images: NDArray[np.uint8], stored: NDArray[Any], threads: int) -> float:
    """Compare a network's features of images with the stored ones; return the largest difference.

    Args:
        network: bytes of a .keras file that composition.compose made.
        images: uint8 (n, height, width, 3).
        stored: float16 (n, features).
        threads: number of TensorFlow's threads.

    Returns:
        The difference as a share of the feature's largest value plus a tenth of the largest value of all features; nan
        if a feature is not a finite number.
    """
    from windrow.model.composition import backbone_of
    from windrow.training import runtime

    runtime.import_tensorflow(threads)
    backbone = backbone_of(runtime.from_bytes(network))
    wanted = stored.astype(np.float32)
    apart = np.abs(np.asarray(backbone(images.astype(np.float32), training=False)) - wanted)
    sizes = np.abs(wanted).max(axis=0)
    return float((apart / np.maximum(sizes + sizes.max() / 10, np.finfo(np.float32).tiny)).max())
