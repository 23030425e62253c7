"""Downloaded bytes that are kept for a later model: a folder of files by content, with a cap on its size.

    TABLE/_windrow/bytes/ab/abcd...     named by the SHA-256 of what is in it, written whole or not at all

When it is full nothing more is kept; a URL whose bytes are not kept is asked again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass
class ByteCache:
    """The folder, and the `room` that its holder may fill, in bytes."""

    folder: str
    room: int = 0

    def get(self, content_hash: str | None) -> bytes | None:
        """The bytes of a content hash; None where they are not kept."""
        if content_hash is None:
            return None
        try:
            return self._path(content_hash).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, content_hash: str, content: bytes) -> None:
        """Keep bytes, if there is room."""
        path = self._path(content_hash)
        if len(content) > self.room or path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_bytes(content)
        aside.replace(path)
        self.room -= len(content)

    def share(self, tasks: int) -> ByteCache:
        """The same for each of `tasks` that run side by side: together they fill the room."""
        return ByteCache(self.folder, self.room // tasks)

    def _path(self, content_hash: str) -> Path:
        return Path(self.folder) / content_hash[:2] / content_hash


def of_folder(folder: Path, mebibytes: int | None) -> ByteCache | None:
    """Open a folder of kept bytes with the room that is left; None where none are to be kept and none were before.

    Args:
        folder: may be absent.
        mebibytes: the cap on its size; None where the page keeps no bytes.
    """
    if mebibytes is None and not folder.is_dir():
        return None
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return ByteCache(str(folder), max(0, (mebibytes or 0) * 2**20 - used))
