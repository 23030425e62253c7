"""Find test images whose features nearly coincide with those of an image of training or validation.

A photograph that was scaled, cropped a little or saved again has other pixels, but nearly the same features.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from windrow.data import shards
from windrow.data.features import feature_files
from windrow.data.features.feature_cache import FeatureCache
from windrow.data.features.records import FeatureCopies
from windrow.data.splits import Split

LIMIT = 0.88
"""The cosine of two images' features, less the mean of all, from which they count as near copies.

It was measured with EfficientNet-Lite0 only: another backbone may need another limit. With that one on trashnet, the
nine pairs of a test and another image from 0.89 on show the same thing in the same place; the next, from 0.86 down,
show it from elsewhere, or another one. On hymenoptera no pair is above 0.72. A photograph without 5 % of its sides has
0.90 or more with the whole one in 19 of 20 cases, and one a fifth brighter 0.90 in 19 of 20. Strong compression changes
features more: a near copy may be missed.
"""
MOST_PRODUCTS = 2 * 10**13
"""The most multiplications; above that, near copies are not looked for. Two cores do so many in about 5 minutes."""
SHOWN = 10
_ROWS = 4096


def find(folder: Path, cache: FeatureCache) -> FeatureCopies:
    """Compare each test image with all images of training and validation.

    Args:
        folder: the folder of the data set.
        cache: the cache, which holds view 0 of every image.
    """
    tests = _values(folder, cache, "test")
    trained, validated = (_values(folder, cache, split) for split in ("train", "validation"))
    if len(tests) * (len(trained) + len(validated)) * tests.shape[1] > MOST_PRODUCTS:
        return FeatureCopies(LIMIT, missing="there are too many images")
    rows, others, cosines = nearest(tests, np.concatenate([trained, validated]))
    names = [*shards.load_names(folder, "train"), *shards.load_names(folder, "validation")]
    tested = shards.load_names(folder, "test")
    order = np.argsort(-cosines, kind="stable")[:SHOWN]
    examples = tuple((tested[rows[at]], names[others[at]]) for at in order)
    return FeatureCopies(LIMIT, tuple(rows.tolist()), examples)


def nearest(
    tests: NDArray[np.float16], others: NDArray[np.float16], limit: float = LIMIT
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Find the test images with a near copy: return their rows, the row of the other most like each, and the cosines.

    The mean of `others` is taken off first. Otherwise all images would be alike for a network whose features are never
    negative.

    Args:
        tests: (n, features).
        others: (m, features).
        limit: the smallest cosine of a near copy.
    """
    if not len(tests) or not len(others):
        nothing = np.empty(0, np.int64)
        return nothing, nothing, np.empty(0, np.float32)
    mean = others.mean(axis=0, dtype=np.float64).astype(np.float32)
    directions = _directions(others, mean)
    rows, found, cosines = [], [], []
    for start in range(0, len(tests), _ROWS):
        alike = _directions(tests[start : start + _ROWS], mean) @ directions.T
        best = alike.argmax(axis=1)
        cosine = alike[np.arange(len(best)), best]
        near = np.flatnonzero(cosine >= limit)
        rows.append(start + near)
        found.append(best[near])
        cosines.append(cosine[near])
    return np.concatenate(rows), np.concatenate(found), np.concatenate(cosines)


def _directions(values: NDArray[np.float16], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return values less the mean, each row with length 1, or 0 if it is the mean itself."""
    centred = values.astype(np.float32) - mean
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    centred /= np.maximum(lengths, np.finfo(np.float32).tiny)
    return centred


def _values(folder: Path, cache: FeatureCache, split: Split) -> NDArray[np.float16]:
    return cache.read(feature_files.view_keys(folder, split, 1))
