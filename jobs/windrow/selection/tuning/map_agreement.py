"""Check that a fine-tuned network gives from pixels what it gave from the maps on which it was validated.

The objective is measured on maps in float16, with the backbone in two parts; a champion labels pixels with the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from windrow.data import shards
from windrow.data.features.embed_worker import BATCH
from windrow.errors import StudyError
from windrow.selection import agreement
from windrow.spark import ship_bytes, shipped_bytes
from windrow.sweep.tuning import map_files, upper
from windrow.training import runtime

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from windrow.data.splits import StoredFit


def check(
    spark: SparkSession, network: bytes, blocks: int, folder: Path, threads: int, fit: StoredFit = "main"
) -> float:
    """Compute the features of agreement.IMAGES validation images in both ways, in a Spark task, and compare them.

    Args:
        network: bytes of the fine-tuned network's .keras file.
        blocks: number of the backbone's last blocks that were trained.
        folder: the prepared data set.
        threads: number of TensorFlow's threads.
        fit: name under which the network's images are stored, from Manifest.stored.

    Returns:
        The largest difference, as `difference` gives it.

    Raises:
        StudyError: it is above agreement.TOLERANCE.
    """
    images, _ = shards.load_split(folder, "validation", fit)
    task = (ship_bytes(spark, network), blocks, np.array(images[: agreement.IMAGES]), threads)
    spark.sparkContext.setJobDescription("compare pixels with maps")
    apart = float(spark.sparkContext.parallelize([task], 1).mapPartitions(_compare_all).collect()[0])
    check_difference(apart)
    return apart


def check_difference(apart: float) -> None:
    """Check the largest difference.

    Raises:
        StudyError: it is above agreement.TOLERANCE, or not a number.
    """
    if not apart <= agreement.TOLERANCE:  # NaN must fail
        raise StudyError(
            "a fine-tuned network must give validation images the features from pixels that it gives from maps, within "
            f"{agreement.TOLERANCE:.0%} of the largest; they differ by {apart:.1%}; "
            "change promotion.fine_tune.blocks, or remove promotion.fine_tune"
        )


def _compare_all(tasks: Iterable[tuple[str, int, NDArray[np.uint8], int]]) -> Iterator[float]:
    return iter([difference(shipped_bytes(name), blocks, images, threads) for name, blocks, images, threads in tasks])


def difference(network: bytes, blocks: int, images: NDArray[np.uint8], threads: int) -> float:
    """Compare a network's features of images, computed by way of maps, with those of the whole backbone.

    Args:
        network: bytes of a .keras file that composition.compose made.
        blocks: number of blocks after the maps.
        images: uint8 (n, height, width, 3).
        threads: number of TensorFlow's threads.

    Returns:
        The difference as agreement.difference gives it.
    """
    runtime.import_tensorflow(threads)
    cut = upper.open_network(network, blocks).cut
    maps = images.astype(np.float32)
    if cut.trunk:
        take = map_files.trunk(cut)
        batches = np.array_split(images, -(-len(images) // BATCH))
        maps = np.concatenate([take(batch) for batch in batches]).astype(np.float32)
    return agreement.difference(network, images, np.asarray(upper.features_of(cut, maps)), threads)
