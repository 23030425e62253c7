"""Remember how far the files of a feed were read, so that a run reads only what is new in them.

    pieces, seen = news(files, table.seen())

A file whose path, size and time are those of an earlier run is not read. If its size or time differs, the SHA-256 of
its bytes decides whether it has changed. If a file has only grown at its end, only the new part is read, provided that
every line end in its format ends a record (text, JSON lines). A file that changed in any other way is read again as a
whole. Reading it again costs time but adds no rows, because URLs that have a row are left out by key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from windrow.scoring.feed import formats
from windrow.scoring.feed.formats import Piece

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Mark:
    """The state of a feed file when it was last read.

    Of its `size` bytes, the first `whole` are complete lines; `digest` is the SHA-256 of all.
    """

    size: int
    modified: int  # nanoseconds
    digest: str
    whole: int


Seen = Mapping[str, Mark]


def news(files: Sequence[Path], seen: Seen) -> tuple[list[Piece], dict[str, Mark]]:
    """Return (the pieces to read, the marks after reading them). Marks of deleted files are dropped.

    Raises:
        UserError: a file is not in the format that its name says.
    """
    pieces: list[Piece] = []
    marks = {name: mark for name, mark in seen.items() if Path(name).exists()}
    for path in files:
        found, marks[str(path)] = _news_of(path, marks.get(str(path)))
        pieces += found
    return pieces, marks


def _news_of(path: Path, mark: Mark | None) -> tuple[list[Piece], Mark]:
    facts = path.stat()
    if mark and (mark.size, mark.modified) == (facts.st_size, facts.st_mtime_ns):
        return [], mark
    now, before = _digest(path, facts.st_size, mark.size if mark else 0)
    now = replace(now, modified=facts.st_mtime_ns)
    if mark and now.digest == mark.digest:
        return [], now
    kind = formats.kind(path)
    grown = mark is not None and before == mark.digest and kind in formats.CONTINUED
    return formats.pieces(path, kind, mark.whole if mark and grown else 0, now.size), now


def _digest(path: Path, size: int, earlier: int) -> tuple[Mark, str | None]:
    """Return the mark of a file's first `size` bytes, and the digest of its first `earlier` bytes.

    The digest is None if `earlier` is 0, or if the file has fewer bytes.
    """
    digest, before, position, whole = sha256(), None, 0, 0
    with path.open("rb") as file:
        while position < size:
            stop = earlier if position < earlier else size
            chunk = file.read(min(_CHUNK_BYTES, stop - position))
            if not chunk:
                break
            digest.update(chunk)
            if (end := chunk.rfind(b"\n")) >= 0:
                whole = position + end + 1
            position += len(chunk)
            if position == earlier:
                before = digest.hexdigest()
    return Mark(position, 0, digest.hexdigest(), whole), before


def dump(seen: Seen) -> bytes:
    """Return the marks as bytes; equal marks give equal bytes."""
    return json.dumps({name: list(vars(mark).values()) for name, mark in sorted(seen.items())}).encode()


def load(text: bytes) -> dict[str, Mark]:
    """Return the marks in the bytes that `dump` returned."""
    return {name: Mark(*values) for name, values in json.loads(text).items()}
