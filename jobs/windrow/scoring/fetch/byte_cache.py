"""Cache downloaded bytes in a folder, so that a later model can label them without a download.

    TABLE/_windrow/bytes/ab/abcd...     named by the SHA-256 of its content, written whole or not at all

The folder has a size limit. When it is full, nothing more is cached. A URL whose bytes are not cached is downloaded
again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from windrow.files import write_bytes


@dataclass
class ByteCache:
    """A folder of cached bytes, and the `room` that is left in it, in bytes."""

    folder: str
    room: int = 0

    def get(self, content_hash: str | None) -> bytes | None:
        """Return the bytes of a content hash; None if they are not cached."""
        if content_hash is None:
            return None
        try:
            return self._path(content_hash).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, content_hash: str, content: bytes) -> None:
        """Cache bytes under their content hash, if there is room and they are not cached yet."""
        path = self._path(content_hash)
        if len(content) > self.room or path.exists():
            return
        write_bytes(path, content)
        self.room -= len(content)

    def share(self, tasks: int) -> ByteCache:
        """Return the cache for one of a run's `tasks` tasks, each of which may fill an equal share of the room."""
        return ByteCache(self.folder, self.room // tasks)

    def _path(self, content_hash: str) -> Path:
        return Path(self.folder) / content_hash[:2] / content_hash


def of_folder(folder: Path, mebibytes: int | None) -> ByteCache | None:
    """Open the cache in a folder; return None if the folder does not exist and the page caches no bytes.

    Args:
        folder: the cache's folder, which need not exist.
        mebibytes: the limit on the cache's size; None if the page caches no bytes. Cached bytes are used even then.
    """
    if mebibytes is None and not folder.is_dir():
        return None
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return ByteCache(str(folder), max(0, (mebibytes or 0) * 2**20 - used))
