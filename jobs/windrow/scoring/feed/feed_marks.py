"""Remember how far the files of a feed were read, so that a run reads only what is new in them.

    pieces, seen, refused = news(files, table.seen())

A file whose path, size and time are those of an earlier run is not read. If its size or time differs, the SHA-256 of
its bytes decides whether it has changed. If a file has only grown at its end, only the new part is read, provided that
every line end in its format ends a record (text, JSON lines). A file that changed in any other way is read again as a
whole. Reading it again costs time but adds no rows, because URLs that have a row are left out by key.

A file that is no feed is refused: no row comes of it, and each run reports it, until it changes and can be read.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from windrow.scoring.feed import file_forms, formats
from windrow.scoring.feed.feed_reports import FeedFault, FeedFileError, feed_fault, shown_name
from windrow.scoring.feed.file_bytes import unreadable
from windrow.scoring.feed.formats import Piece

_CHUNK_BYTES = 1 << 20


_READER = 3  # raise it when the readers accept more, so that a file that was refused is tried again
_PLACES = 4  # the values of a mark without a reason


@dataclass(frozen=True)
class Mark:
    """The state of a feed file when it was last read.

    Of its `size` bytes, the first `whole` are complete lines; `digest` is the SHA-256 of all. If the file was refused,
    `reason` says why, `line` where, and `reader` is the number of the readers that refused it.
    """

    size: int
    modified: int  # nanoseconds
    digest: str
    whole: int
    reason: str = ""
    line: int | None = None
    reader: int = 0


Seen = Mapping[str, Mark]


class News(NamedTuple):
    """What is new in a feed: the pieces to read, the marks after reading them, and the files that are refused."""

    pieces: list[Piece]
    marks: dict[str, Mark]
    refused: list[FeedFault]


def news(files: Sequence[Path], seen: Seen) -> News:
    """Return what is new in the files of a feed. Marks of deleted files are dropped."""
    found = News([], {name: mark for name, mark in seen.items() if Path(name).exists()}, [])
    for path in files:
        try:
            pieces, mark = _news_of(path, found.marks.get(str(path)))
        except FeedFileError as error:  # not even its bytes could be read, so there is no state to remember
            found.marks.pop(str(path), None)
            found.refused.append(error.fault)
            continue
        found.marks[str(path)] = mark
        found.pieces.extend(pieces)
        if mark.reason:
            found.refused.append(feed_fault(path, mark.reason, mark.line))
    return found


def without(marks: Seen, faults: Iterable[FeedFault]) -> dict[str, Mark]:
    """Return the marks without those of files that failed while they were read, so that the next run tries again."""
    failed = {fault.file for fault in faults}
    return {name: mark for name, mark in marks.items() if shown_name(name) not in failed}


def _refused(mark: Mark, fault: FeedFault) -> Mark:
    return replace(mark, reason=fault.reason, line=fault.line, reader=_READER)


def _news_of(path: Path, mark: Mark | None) -> tuple[list[Piece], Mark]:
    """Return what is new in a file, and its mark.

    Raises:
        FeedFileError: the file's bytes can't be read.
    """
    if mark and mark.reason and mark.reader != _READER:
        mark = None
    try:
        facts = _facts(path)
        if mark and (mark.size, mark.modified) == (facts.st_size, facts.st_mtime_ns):
            return [], mark
        now, before = _digest(path, facts.st_size, mark.size if mark else 0)
    except OSError as error:
        raise unreadable(path, error) from error
    now = replace(now, modified=facts.st_mtime_ns)
    if mark and now.digest == mark.digest:
        return [], replace(mark, modified=now.modified)
    try:
        form, records = file_forms.find(path, now.size)
        grown = mark is not None and not mark.reason and before == mark.digest
        start = mark.whole if mark and grown and form.kind in formats.CONTINUED else 0
        return formats.pieces(path, form, start, now.size, records), now
    except FeedFileError as error:
        return [], _refused(now, error.fault)


def _facts(path: Path) -> os.stat_result:
    """Return a file's size and time.

    Raises:
        FeedFileError: it is a folder, or a device or a pipe, which may have no end; or its name is not UTF-8, which
            Spark can't be given.
        OSError: it can't be looked at.
    """
    if path.is_dir():
        raise FeedFileError(path, "a feed is made of files; got a folder; name what is in it, as folder/*")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise FeedFileError(path, "a file's name must be UTF-8; rename it") from error
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise FeedFileError(path, "a feed is made of files; got a device or a pipe; write what it gives to a file")
    return facts


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
    plain = {name: list(vars(mark).values())[: None if mark.reason else _PLACES] for name, mark in sorted(seen.items())}
    return json.dumps(plain).encode()


def load(text: bytes) -> dict[str, Mark]:
    """Return the marks in the bytes that `dump` returned."""
    return {name: Mark(*values) for name, values in json.loads(text).items()}
