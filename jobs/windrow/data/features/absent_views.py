"""Find the views whose features the cache lacks, and divide them into portions, one for each Spark job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from windrow.data.features import feature_files
from windrow.data.features.embed_worker import BATCH
from windrow.data.features.feature_cache import FeatureCache, Keys
from windrow.data.manifest import Manifest
from windrow.data.splits import Split, StoredFit

_PORTION_SECONDS = 5.0
"""What a portion may take: long next to the 0.1 to 0.3 s that a Spark job costs; a kill loses one portion per slot."""
_FIRST, _LEAST, _MOST = 16 * BATCH, 4 * BATCH, 128 * BATCH
"""Views of a portion: at most before the pace is known, at least, and at most."""


@dataclass(frozen=True, eq=False)
class Absent:
    """Views of one split that the cache lacks.

    Attributes:
        split: the split.
        indices: index of each view's image, int64 (n,).
        numbers: number of each view, uint8 (n,).
        keys: their names in the cache.
        images: name of the file with their images that was sent to executors; "" before.
        fit: name under which the images are stored, from Manifest.stored.
    """

    split: Split
    indices: np.ndarray[tuple[int], np.dtype[np.int64]]
    numbers: np.ndarray[tuple[int], np.dtype[np.uint8]]
    keys: Keys
    images: str = ""
    fit: StoredFit = "main"

    def __len__(self) -> int:
        return len(self.keys)

    def part(self, start: int, end: int) -> Absent:
        """Return the views from `start` to `end`, which is not included."""
        chosen = slice(start, end)
        return replace(self, indices=self.indices[chosen], numbers=self.numbers[chosen], keys=self.keys[chosen])


def find(folder: Path, manifest: Manifest, cache: FeatureCache, number: int) -> list[Absent]:
    """List the views that the cache lacks, by split; a training image has `number` views, and others have one.

    Images with the same pixels are listed once.
    """
    found, listed = [], np.empty(0, "S17")
    every = feature_files.in_splits(number).items()
    for split, count, fit in ((*each, fit) for fit in manifest.stored for each in every):
        names = feature_files.view_keys(folder, split, count, fit)
        _, first = np.unique(names, return_index=True)
        missing = np.zeros(len(names), bool)
        missing[first] = True
        missing &= ~cache.holds(names) & ~np.isin(names, listed)
        places = np.flatnonzero(missing)
        if len(places):
            numbers = (places % count).astype(np.uint8)
            found.append(Absent(split, places // count, numbers, names[places], fit=fit))
            listed = np.concatenate([listed, names[places]])
    return found


class Portions:
    """Divides views into portions: of some seconds first, and smaller ones at the end, so that no slot waits for long.

    A portion is a multiple of BATCH views if more are left, because a smaller batch takes as long as a whole one.
    """

    def __init__(self, wanted: Sequence[Absent], slots: int) -> None:
        self._wanted, self._slots = list(wanted), slots
        self._left = sum(map(len, wanted))
        self._computed, self._seconds = 0, 0.0

    def note(self, computed: int, seconds: float) -> None:
        """Note how long one slot took for so many views."""
        self._computed, self._seconds = self._computed + computed, self._seconds + seconds

    def take(self) -> list[Absent]:
        """Return the next portion, split by split; empty if there is no more."""
        missing, taken = self._size(), []
        while missing and self._wanted:
            first = self._wanted.pop(0)
            part = first.part(0, missing)
            if len(part) < len(first):
                self._wanted.insert(0, first.part(missing, len(first)))
            taken.append(part)
            missing -= len(part)
        self._left -= sum(map(len, taken))
        return taken

    def _size(self) -> int:
        """Return the next portion's size: of half a slot's share of what is left, within limits."""
        most = int(_PORTION_SECONDS * self._computed / self._seconds) if self._seconds else _FIRST
        least = min(_LEAST, -(-self._left // self._slots))
        size = max(least, min(most, _MOST, self._left // (2 * self._slots)))
        return -(-size // BATCH) * BATCH
