"""Keep the features of images by the hash of their pixels, so that no image is computed twice.

    WINDROW_HOME/features/KEY/*.block

KEY stands for the backbone, the shape of an image, and the recipe of the views. A block has the features of some views
of images, and is written as a whole or not at all. Two jobs may add blocks at once: the same block has the same name,
and an image that two blocks have is read from one of them.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b, sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.data.features import views
from windrow.data.hashes import BYTES, Hashes
from windrow.files import clear_when_full, replacing
from windrow.model.backbone import Backbone

FOLDER = "features"
KEPT_DAYS = 60
"""Blocks that no job has read for so long are removed."""
_SUFFIX = ".block"

Keys = NDArray[np.bytes_]
"""Names of views: the 16 bytes of an image's hash and the view's number, S17 (n,)."""
Values = NDArray[np.float16]
"""Features of views, float16 (n, features)."""


def keys(hashes: Hashes, numbers: NDArray[np.uint8]) -> Keys:
    """Return the names of views.

    Args:
        hashes: hash of each view's image, uint8 (n, 16).
        numbers: number of each view, uint8 (n,).
    """
    joined = np.concatenate([hashes, numbers[:, np.newaxis]], axis=1)
    return np.ascontiguousarray(joined).view(f"S{BYTES + 1}")[:, 0]


def key_of(backbone: Backbone) -> str:
    """Return the digest of what decides the features of an image's view, beyond the image's pixels."""
    parts = repr((backbone.digest, backbone.shape, backbone.features, views.RECIPE))
    return sha256(parts.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class _Block:
    """A block's file, which is open only while it is read: a cache may have more blocks than a process may open files.

    Attributes:
        path: the file.
        keys: the names of its views.
        start: where the features begin, in bytes.
    """

    path: Path
    keys: Keys
    start: int


class FeatureCache:
    """The features that are stored for a backbone.

    Args:
        home: WINDROW_HOME.
        backbone: the backbone.

    Attributes:
        key: digest of what decides the features of an image's view, from `key_of`.
        features: number of features of a view.
        folder: where the blocks are.
    """

    def __init__(self, home: Path, backbone: Backbone) -> None:
        self.key, self.features = key_of(backbone), backbone.features
        self.folder = home / FOLDER / self.key
        self._open()

    def _open(self) -> None:
        paths = sorted(self.folder.glob(f"*{_SUFFIX}"))
        self._blocks = [block for block in map(self._read, paths) if block is not None]
        empty = np.empty(0, f"S{BYTES + 1}")
        found = np.concatenate([empty, *(block.keys for block in self._blocks)])
        order = np.argsort(found, kind="stable")
        self._sorted = found[order]
        sizes = [len(block.keys) for block in self._blocks]
        self._place = np.repeat(np.arange(len(sizes)), sizes)[order]
        self._row = np.concatenate([np.arange(size) for size in [0, *sizes]])[order]

    def _read(self, path: Path) -> _Block | None:
        """Describe a block; None if the file is no block with this number of features, as after a failure of the disk.

        Raises:
            OSError: too many files are open, which is no fault of the block.
        """
        try:
            with path.open("rb") as file:
                names: Any = np.load(file, allow_pickle=False)
                np.lib.format.read_magic(file)
                shape, _, kind = np.lib.format.read_array_header_1_0(file)
                if shape != (len(names), self.features) or kind != np.float16 or not len(names):
                    return None
                start, size = file.tell(), os.fstat(file.fileno()).st_size
                return _Block(path, names, start) if size == start + 2 * len(names) * self.features else None
        except (OSError, ValueError, EOFError) as error:
            if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
                raise
            return None

    def holds(self, wanted: Keys) -> NDArray[np.bool_]:
        """Return which of the named views are stored, bool (n,)."""
        places = np.searchsorted(self._sorted, wanted)
        inside = places < len(self._sorted)
        found = np.zeros(len(wanted), bool)
        found[inside] = self._sorted[places[inside]] == wanted[inside]
        return found

    def add(self, names: Keys, values: Values) -> None:
        """Write a block; `holds` and `read` see it after `refresh`.

        Raises:
            ServiceError: the disk is full.
        """
        stream = BytesIO()
        np.lib.format.write_array(stream, names, (1, 0), allow_pickle=False)
        np.lib.format.write_array(stream, np.ascontiguousarray(values, np.float16), (1, 0), allow_pickle=False)
        path = self.folder / f"{blake2b(names.tobytes(), digest_size=16).hexdigest()}{_SUFFIX}"
        with clear_when_full(self.folder), replacing(path) as part, part.open("wb") as file:
            file.write(stream.getbuffer())
            file.flush()
            os.fsync(file.fileno())

    def refresh(self) -> None:
        """Find the blocks that were added since the cache was opened, by this process or another."""
        self._open()

    def read(self, wanted: Keys) -> Values:
        """Return the features of stored views, float16 (n, features), in the order of their names.

        Raises:
            KeyError: a view is not stored.
        """
        if not self.holds(wanted).all():
            raise KeyError("a view is not stored")
        places = np.searchsorted(self._sorted, wanted)
        blocks, rows = self._place[places], self._row[places]
        values = np.empty((len(wanted), self.features), np.float16)
        for number in np.unique(blocks):
            here, block = blocks == number, self._blocks[number]
            shape = (len(block.keys), self.features)
            values[here] = np.memmap(block.path, np.float16, "r", block.start, shape)[rows[here]]
        return values

    def mark_used(self, wanted: Keys) -> None:
        """Set the time of the blocks that have some of these views to now, so that no job removes them.

        A block that is gone already is missing after `refresh`.
        """
        places = np.searchsorted(self._sorted, wanted[self.holds(wanted)])
        for number in np.unique(self._place[places]):
            with suppress(FileNotFoundError):
                os.utime(self._blocks[number].path)


def remove_unused(home: Path) -> int:
    """Remove the blocks of all backbones that no job has read for KEPT_DAYS; return their number."""
    limit, removed = time.time() - KEPT_DAYS * 86_400, 0
    for path in (home / FOLDER).glob(f"*/*{_SUFFIX}"):
        with suppress(FileNotFoundError):  # another job removes them, too
            if path.stat().st_mtime < limit:
                path.unlink()
                removed += 1
    return removed
