"""Check that a network with a backbone inside gives from pixels what its head learned from stored features.

Another backbone, other preprocessing, or features of other images would run without an error, and only label badly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windrow.data import features, shards
from windrow.errors import StudyError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TOLERANCE = 1e-3
"""The largest accepted difference of a score, in 0..1. Features are stored as float16, which alone changes a score by
less than half of that (tests/jobs/test_heads_of_photographs.py)."""
IMAGES = 64
"""Number of validation images that are compared: half a second of a mid-sized backbone on one core."""


def check(spark: SparkSession, network: bytes, folder: Path, threads: int) -> float:
    """Compare scores from pixels with those from features on validation images, in a Spark task.

    Args:
        network: bytes of a .keras file that composition.compose made.
        folder: the prepared data set with its features.
        threads: number of TensorFlow's threads.

    Returns:
        The largest difference of a score.

    Raises:
        StudyError: it is above TOLERANCE.
    """
    images, _ = shards.load_split(folder, "validation")
    stored, _ = features.load_split(folder, "validation")
    task = (network, np.array(images[:IMAGES]), np.array(stored[:IMAGES, 0]), threads)
    spark.sparkContext.setJobDescription("compare pixels with features")
    apart = float(spark.sparkContext.parallelize([task], 1).mapPartitions(_compare_all).collect()[0])
    if not apart <= TOLERANCE:  # NaN must fail
        raise StudyError(
            f"a network must give the same scores from validation images as from their features, within {TOLERANCE}; "
            f"they differ by {apart:.4f}; run embed_images.py and sweep.py again, with the backbone as it is now"
        )
    return apart


def _compare_all(tasks: Iterable[tuple[bytes, NDArray[np.uint8], NDArray[Any], int]]) -> Iterator[float]:
    return iter([difference(*task) for task in tasks])


def difference(network: bytes, images: NDArray[np.uint8], stored: NDArray[Any], threads: int) -> float:
    """Return the largest difference of a score between pixels, uint8 (n, h, w, 3), and features, (n, features)."""
    from windrow.model.composition import head_of
    from windrow.training import runtime

    runtime.import_tensorflow(threads)
    whole = runtime.from_bytes(network)
    from_pixels = np.asarray(whole(images.astype(np.float32), training=False))
    from_features = np.asarray(head_of(whole)(stored.astype(np.float32), training=False))
    return float(np.abs(from_pixels - from_features).max())
