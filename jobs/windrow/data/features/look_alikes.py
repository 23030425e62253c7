"""Find test images whose features nearly coincide with those of an image of training or validation.

A photograph that was scaled, cropped a little or saved again has other pixels, but nearly the same features.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from windrow.data import manifest as manifests
from windrow.data import shards
from windrow.data.features import feature_files
from windrow.data.features.feature_cache import FeatureCache, Keys
from windrow.data.features.records import FeatureCopies

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
_BYTES = 64 * 2**20
"""The most memory for the features of a part, as float32; a product of two parts of _ROWS rows has this size, too."""


class Table(Protocol):
    """Features that are read a part at a time: an array, or what is stored."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: slice, /) -> NDArray[np.float16]:
        """Return rows, float16 (n, features)."""


@dataclass(frozen=True, eq=False)
class _Stored:
    """Features in the cache as a table."""

    cache: FeatureCache
    keys: Keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: slice, /) -> NDArray[np.float16]:
        return self.cache.read(self.keys[rows])


def find(folder: Path, cache: FeatureCache) -> FeatureCopies:
    """Compare each test image with all images of training and validation, in each form in which they are stored.

    Args:
        folder: the folder of the data set.
        cache: the cache, which holds view 0 of every image in each form.
    """
    stored = manifests.read(folder).stored
    best: dict[int, tuple[float, int]] = {}  # test image → the highest cosine, and the image that has it
    for fit in stored:
        tests, *other = (feature_files.view_keys(folder, split, 1, fit) for split in ("test", "train", "validation"))
        others = np.concatenate(other)
        if len(stored) * len(tests) * len(others) * cache.features > MOST_PRODUCTS:
            return FeatureCopies(LIMIT, missing="there are too many images")
        for row, found, cosine in zip(*nearest(_Stored(cache, tests), _Stored(cache, others)), strict=True):
            best[int(row)] = max(best.get(int(row), (-1.0, 0)), (float(cosine), int(found)))
    names = [*shards.load_names(folder, "train"), *shards.load_names(folder, "validation")]
    tested, rows = shards.load_names(folder, "test"), sorted(best)
    order = sorted(rows, key=lambda row: -best[row][0])[:SHOWN]
    return FeatureCopies(LIMIT, tuple(rows), tuple((tested[row], names[best[row][1]]) for row in order))


def nearest(
    tests: Table, others: Table, limit: float = LIMIT
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Find the test images with a near copy: return their rows, the row of the other most like each, and the cosines.

    The mean of `others` is taken off first. Otherwise all images would be alike for a network whose features are never
    negative. Both tables are read in parts, so that a few hundred MB of memory are enough for any number of images.

    Args:
        tests: (n, features).
        others: (m, features).
        limit: the smallest cosine of a near copy.
    """
    rows, found, cosines = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    if not len(tests) or not len(others):
        return rows[0], found[0], cosines[0]
    width = tests[:1].shape[1]
    step = max(1, min(_ROWS, _BYTES // (4 * width)))
    total = np.zeros(width, np.float64)
    for at in range(0, len(others), step):
        total += others[at : at + step].sum(axis=0, dtype=np.float64)
    mean = (total / len(others)).astype(np.float32)
    for start in range(0, len(tests), step):
        directions = _directions(tests[start : start + step], mean)
        best, cosine = np.zeros(len(directions), np.int64), np.full(len(directions), -2, np.float32)
        for at in range(0, len(others), step):
            alike = directions @ _directions(others[at : at + step], mean).T
            place = alike.argmax(axis=1)
            highest = alike[np.arange(len(place)), place]
            better = highest > cosine
            best[better], cosine[better] = at + place[better], highest[better]
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
