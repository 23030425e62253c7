"""Read feed files (text, CSV, JSON lines or Parquet), cut into pieces that tasks can read in parallel.

A text file has one URL per line. The other formats have a column `url`, and their other columns are kept as JSON. A
piece of text or JSON lines contains the lines that begin in it, a piece of Parquet contains row groups, and a CSV file
is one piece.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from windrow.errors import UserError
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target

TEXT, CSV, JSON_LINES, PARQUET = "text", "csv", "json_lines", "parquet"
CONTINUED = (TEXT, JSON_LINES)
"""The formats in which a file that has grown is read from its former end on."""

_KINDS = {".csv": CSV, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES, ".json": JSON_LINES, ".parquet": PARQUET}
_PACKED = {".gz", ".bz2", ".xz", ".zst", ".zip"}
_PIECE_BYTES = 16 << 20
_LINE_BYTES = 1 << 20  # the longest JSON record
_ROWS = 4096


@dataclass(frozen=True)
class Piece:
    """A part of a feed file: its bytes, or in Parquet its row groups, from `start` up to `end`."""

    path: str
    kind: str
    start: int
    end: int


def kind(path: Path) -> str:
    """Return the format that a file's suffix names, after a look at its beginning; an unknown suffix means text.

    Raises:
        UserError: the file is compressed, is not in the format that its name says, or has no column url.
    """
    suffix = path.suffix.lower()
    if suffix in _PACKED:
        raise UserError(f"a feed must not be packed; got {path}; unpack it")
    found = _KINDS.get(suffix, TEXT)
    if found == CSV and path.stat().st_size:
        _check(path, next(_records(path), []))
    elif found == PARQUET:
        _check(path, _parquet(path).schema_arrow.names)
    elif found == JSON_LINES:
        _check_json(path)
    return found


def _check(path: Path, columns: list[str]) -> None:
    if "url" not in columns:
        raise UserError(f"{path} must have a column url; got {', '.join(columns)[:200] or 'none'}; rename one")


def _check_json(path: Path) -> None:
    """Refuse a file whose first line does not begin an object, or is only "{".

    Each line of a JSON document that spans many lines would otherwise become a row.
    """
    with path.open("rb") as file:
        first = next((line for line in iter(lambda: file.readline(_LINE_BYTES), b"") if line.strip()), b"{}")
    if not first.lstrip(b"\xef\xbb\xbf \t").startswith(b"{") or first.strip() == b"{":
        raise UserError(f"{path} must hold one JSON object a line; got {first[:40]!r} first; write it as JSON lines")


def _parquet(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} must be a whole Parquet file; {error}; write it again") from error


def pieces(path: Path, kind: str, start: int, size: int) -> list[Piece]:
    """Cut a file into pieces that can be read in parallel.

    Text and JSON lines are cut from byte `start` on. The other kinds ignore `start`: a Parquet file gives one piece per
    row group, a CSV file a single piece.
    """
    if kind == PARQUET:
        return [Piece(str(path), kind, group, group + 1) for group in range(_parquet(path).num_row_groups)]
    if kind == CSV:  # a line end may lie inside a quoted value
        return [Piece(str(path), kind, 0, size)] if size else []
    starts = range(start, size, _PIECE_BYTES)
    return [Piece(str(path), kind, begin, min(begin + _PIECE_BYTES, size)) for begin in starts]


def targets(piece: Piece) -> Iterator[Target]:
    """Yield the targets of a piece, valid or not; blank lines are skipped."""
    return _READERS[piece.kind](piece)


def _text(piece: Piece) -> Iterator[Target]:
    for line, digest in lines(piece, urls.MAX_BYTES):
        # A carriage return ends a line on old Macs, and begins a line end on Windows.
        for part in line.split(b"\r") if digest is None and b"\r" in line else (line,):
            if target := urls.understand(part, digest):
                yield target


def _json_lines(piece: Piece) -> Iterator[Target]:
    for line, digest in lines(piece, _LINE_BYTES):
        text = line.removeprefix(b"\xef\xbb\xbf").strip()
        if not text:
            continue
        try:
            record = None if digest else json.loads(text)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            yield _target(record)
        else:
            shown = urls.shown(text[: urls.MAX_BYTES].decode("utf-8", "replace"))
            reason = f"a line must be a JSON object of at most {_LINE_BYTES:,} bytes with a url"
            yield Target(shown, digest or sha256(text).hexdigest(), None, Status.INVALID_URL, reason)


def _csv(piece: Piece) -> Iterator[Target]:
    records = _records(Path(piece.path))
    header = next(records, [])
    for values in records:
        if values:
            beyond = {"": values[len(header) :]} if len(values) > len(header) else {}
            yield _target({**dict(zip(header, values, strict=False)), **beyond})


def _records(path: Path) -> Iterator[list[str]]:
    csv.field_size_limit(sys.maxsize)
    with path.open("rb") as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        yield from csv.reader(text)


def _parquet_rows(piece: Piece) -> Iterator[Target]:
    groups = list(range(piece.start, piece.end))
    for batch in _parquet(Path(piece.path)).iter_batches(_ROWS, row_groups=groups):
        for record in batch.to_pylist():
            yield _target(record)


_READERS: Mapping[str, Callable[[Piece], Iterator[Target]]] = {
    TEXT: _text,
    CSV: _csv,
    JSON_LINES: _json_lines,
    PARQUET: _parquet_rows,
}


def lines(piece: Piece, longest: int) -> Iterator[tuple[bytes, str | None]]:
    """Yield (line without its end, None) for every line that begins in a piece.

    For a line of more than `longest` bytes, yield (its first longest + 1 bytes, SHA-256 of the whole line) instead, to
    bound memory.
    """
    with Path(piece.path).open("rb") as file:
        if piece.start:
            file.seek(piece.start - 1)
            _skip_line(file)
        while file.tell() < piece.end and (line := file.readline(longest + 2)):
            if line.endswith(b"\n") or len(line) <= longest + 1:
                line = line.removesuffix(b"\n")
                yield line, sha256(line).hexdigest() if len(line) > longest else None
            else:
                yield line[: longest + 1], _rest_of_line(file, line)


def _skip_line(file: io.BufferedReader) -> None:
    while (rest := file.readline(_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass


def _rest_of_line(file: io.BufferedReader, beginning: bytes) -> str:
    digest = sha256(beginning)
    while rest := file.readline(_LINE_BYTES):
        digest.update(rest.removesuffix(b"\n"))
        if rest.endswith(b"\n"):
            break
    return digest.hexdigest()


def _target(record: dict[str, object]) -> Target:
    """Return a record as a target. A record without a URL becomes an invalid target, so that nothing is skipped."""
    url = record.pop("url", None)
    extra = as_json(record) if record else None
    line = url if isinstance(url, bytes) else _encoded(str(url or ""))
    target = urls.understand(
        line[: urls.MAX_BYTES + 1], sha256(line).hexdigest() if len(line) > urls.MAX_BYTES else None
    )
    if target is None:
        key = sha256(f"no url {extra}".encode("utf-8", "surrogateescape")).hexdigest()
        target = Target("", key, None, Status.INVALID_URL, "a record must have a url; got none")
    return replace(target, extra=extra)


def _encoded(text: str) -> bytes:
    """Encode text as UTF-8, even if its source was not valid.

    Bytes that were not UTF-8 become the same bytes again, and a lone surrogate from JSON becomes three bytes.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def as_json(record: Mapping[str, object]) -> str:
    """Return a record as one line of JSON: bytes as base64, dates and decimals as text, NaN and infinity as null."""
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        text = json.dumps(_finite(record), ensure_ascii=False, separators=(",", ":"), default=_plain)
    return text.encode("utf-8", "replace").decode()


def _plain(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
