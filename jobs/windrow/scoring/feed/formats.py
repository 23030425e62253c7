"""Cut a feed's files into pieces that tasks can read in parallel, and read these.

A text file has one URL per line. The other formats have a column `url`, and their other columns are kept as JSON. A
piece of text or JSON lines contains the lines that begin in it, a piece of Parquet is a row group, and a CSV file, or a
file that is packed or not in UTF-8, is one piece. file_forms.py finds out a file's format.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from json.encoder import encode_basestring as quoted
from pathlib import Path

from windrow.scoring.feed import carried, csv_records, file_bytes, parquet_rows
from windrow.scoring.feed.feed_reports import FeedFileError, PieceReport, feed_fault
from windrow.scoring.feed.file_bytes import COMMENT, CSV, DOS_END, JSON_LINES, PARQUET, TEXT, FileForm
from windrow.scoring.feed.url_column import url_column
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.urls import Target

CONTINUED = (TEXT, JSON_LINES)
"""The formats in which a file that has grown is read from its former end on."""

_PIECE_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20
_NO_URL = "a record must have a url; got none; it gets no row"


@dataclass(frozen=True)
class Piece:
    """A part of a feed file.

    Attributes:
        path: the file.
        form: how the file is written.
        start, end: the part's bytes from `start` up to `end`; in Parquet the row group `start`.
        records: the number of its records as found when the file was checked; None if that was not counted.
    """

    path: str
    form: FileForm
    start: int
    end: int
    records: int | None = None

    def to_json(self) -> str:
        """Return the piece as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Piece:
        """Read what `to_json` returned."""
        values = json.loads(text)
        form = values["form"]
        return cls(**{**values, "form": FileForm(**{**form, "columns": tuple(form["columns"])})})


def pieces(path: Path, form: FileForm, start: int, size: int, records: int | None = None) -> list[Piece]:
    """Cut a file into pieces that can be read in parallel.

    Text and JSON lines are cut from byte `start` on. The other kinds ignore `start`: a Parquet file gives one piece per
    row group, a CSV file a single piece.

    Args:
        path: the file.
        form: how it is written.
        start: where reading begins.
        size: the file's size in bytes.
        records: the number of records of a CSV, as found when it was checked.

    Raises:
        FeedFileError: a Parquet file can't be read.
    """
    if form.kind == PARQUET:
        return [Piece(str(path), form, place, place + 1, rows) for place, rows in enumerate(parquet_rows.groups(path))]
    if form.kind == CSV or not form.bare:  # a line end may lie inside a quoted value
        return [Piece(str(path), form, 0, size, records)] if size else []
    starts = range(start, size, _PIECE_BYTES)
    return [Piece(str(path), form, begin, min(begin + _PIECE_BYTES, size)) for begin in starts]


def targets(piece: Piece, report: PieceReport | None = None) -> Iterator[Target]:
    """Yield the targets of a piece, valid or not; blank lines are skipped. Never raises for what the file holds.

    Args:
        piece: the piece.
        report: is filled with what was read, and what could not be.
    """
    report = PieceReport() if report is None else report
    path = Path(piece.path)
    try:
        yield from _READERS[piece.form.kind](piece, report)
    except FeedFileError as error:
        report.fault = error.fault
    except OSError as error:
        report.fault = file_bytes.unreadable(path, error).fault
    if piece.records is not None and piece.records != report.records and report.fault is None:
        counts = f"{piece.records:,} records were found before, and {report.records:,} now"
        report.fault = feed_fault(path, f"a file must stay as it is while it is read; {counts}; it is read again")


def _text(piece: Piece, report: PieceReport) -> Iterator[Target]:
    for line, digest in lines(piece, urls.MAX_BYTES):
        if target := urls.understand(line.removesuffix(DOS_END), digest):
            if target.address is None:
                file_bytes.check_encoding(Path(piece.path), line)
                if target.url.startswith(COMMENT):
                    continue
            report.records += 1
            yield target


def _json_lines(piece: Piece, report: PieceReport) -> Iterator[Target]:
    before: int | None = None  # counted once, and only for a record that the report names, because it reads the file
    for number, (line, digest) in enumerate(lines(piece, carried.LINE_BYTES), 1):
        text = line.removesuffix(DOS_END).decode("utf-8", "surrogateescape").lstrip(file_bytes.BYTE_ORDER_MARK).strip()
        if not text:
            continue
        try:
            record = carried.parse(text, whole=digest is None)
            url = record.pop("url" if "url" in record else url_column(record) or "url", None)
            if target := record_target(url, carried.dump(record) if record else None):
                report.records += 1
                yield target
                continue
            reason = no_text(url) or _NO_URL
        except carried.RecordError as error:
            reason = str(error)
            file_bytes.check_encoding(Path(piece.path), line)
        report.records += 1  # not a line of another encoding: the file is read up to there
        before = _lines_before(piece) if before is None else before
        report.reject(piece.path, number + before, reason)


def _lines_before(piece: Piece) -> int:
    """Count the lines before the first one that begins in a piece."""
    if not piece.start:
        return 0
    with Path(piece.path).open("rb") as file:
        left, number, returned = _begin(file, piece), 0, False
        file.seek(0)
        while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
            left -= len(chunk)
            number += chunk.count(b"\n") + chunk.count(b"\r") - chunk.count(b"\r\n")
            number -= returned and chunk.startswith(b"\n")
            returned = chunk.endswith(b"\r")
        return number


def _csv(piece: Piece, report: PieceReport) -> Iterator[Target]:
    form, path = piece.form, Path(piece.path)
    place = form.columns.index("url")
    others = [(other, f"{quoted(name)}:") for other, name in enumerate(form.columns) if other != place]
    for line, values in csv_records.records(path, form, piece.end):
        report.records += 1
        extra = None
        if others:
            extra = "{" + ",".join([key + quoted(values[other]) for other, key in others]) + "}"
            if r"\\N" in extra or not extra.isascii():
                named = ((form.columns[other], values[other]) for other, _ in others)
                extra = carried.dump({name: csv_records.value(text) for name, text in named})
        if target := record_target(csv_records.value(values[place]), extra):
            yield target
        else:
            report.reject(piece.path, line, _NO_URL)
    if note := csv_records.unfinished(path, form, piece.end):
        report.notes.append(feed_fault(path, note))


def _parquet(piece: Piece, report: PieceReport) -> Iterator[Target]:
    for row, url, extra in parquet_rows.rows(Path(piece.path), piece.start, report):
        report.records += 1
        if target := record_target(url, extra):
            yield target
        else:
            report.reject(piece.path, row, _NO_URL)


_READERS: Mapping[str, Callable[[Piece, PieceReport], Iterator[Target]]] = {
    TEXT: _text,
    CSV: _csv,
    JSON_LINES: _json_lines,
    PARQUET: _parquet,
}


def lines(piece: Piece, longest: int) -> Iterator[tuple[bytes, str | None]]:
    """Yield (line without its end, None) for every line that begins in a piece.

    A newline ends a line, as does a carriage return with or without a newline after it. Of a line of more than
    `longest` bytes, yield (its first longest + 1 bytes, SHA-256 of the whole line) instead, to bound memory. Pieces are
    cut at newlines only: lines that end with a carriage return alone belong to the piece in which the first of them
    begins.
    """
    path = Path(piece.path)
    if not piece.form.bare:
        with file_bytes.opened(path, piece.form) as unpacked:
            while line := unpacked.readline(longest + 2):
                yield from _ended(unpacked, line, longest)
        return
    with path.open("rb") as file:
        _begin(file, piece)
        while file.tell() < piece.end and (line := file.readline(longest + 2)):
            yield from _ended(file, line, longest)


def _begin(file: io.BufferedReader, piece: Piece) -> int:
    """Go to the first line that begins in a piece; return its place in the file."""
    if piece.start:
        file.seek(piece.start - 1)
        while (rest := file.readline(_CHUNK_BYTES)) and not rest.endswith(b"\n"):
            pass
    return file.tell()


def _ended(file: io.BufferedReader, beginning: bytes, longest: int) -> Iterable[tuple[bytes, str | None]]:
    """Return the lines up to the next newline; the first longest + 2 bytes of them are read already."""
    if beginning.endswith(b"\n") and beginning.find(b"\r", 0, -2) < 0:
        line = beginning.rstrip(b"\r\n")
        if len(line) <= longest:
            return ((line, None),)
    return _split(file, beginning, longest)


def _split(file: io.BufferedReader, chunk: bytes, longest: int) -> Iterator[tuple[bytes, str | None]]:
    """Yield the lines of `chunk` and of what follows it up to a newline, with little memory."""
    head, size, digest, last = b"", 0, sha256(), False
    while chunk and not last:
        if chunk.endswith(b"\r") and file.peek(1)[:1] == b"\n":
            chunk += file.read(1)
        last = chunk.endswith(b"\n")
        *ended, rest = chunk.removesuffix(b"\r\n" if chunk.endswith(b"\r\n") else b"\n").split(b"\r")
        for place, part in enumerate([*ended, rest]):
            head += part[: longest + 1 - len(head)]
            size += len(part)
            digest.update(part)
            if last or place < len(ended):
                yield head, digest.hexdigest() if size > longest else None
                head, size, digest = b"", 0, sha256()
        if not last:
            chunk = file.readline(_CHUNK_BYTES)
    if size:
        yield head, digest.hexdigest() if size > longest else None


def record_target(url: object, extra: str | None = None) -> Target | None:
    """Return a record as a target; None if it has no URL; a value of JSON that is no text is none."""
    line = url if isinstance(url, bytes) else _encoded(url if isinstance(url, str) else "")
    long = len(line) > urls.MAX_BYTES
    target = urls.understand(line[: urls.MAX_BYTES + 1], sha256(line).hexdigest() if long else None)
    if target is None or extra is None:
        return target
    return Target(target.url, target.url_key, target.address, target.status, target.error, extra)


def no_text(url: object) -> str:
    """Return why a value can't be a URL because it is no text; empty if it is text or there is none."""
    kind = None if url is None or isinstance(url, str | bytes) else type(url).__name__
    return f"a url must be text; got a value of type {kind}" if kind else ""


def _encoded(text: str) -> bytes:
    """Encode text as UTF-8, even if its source was not valid.

    Bytes that were not UTF-8 become the same bytes again, and a lone surrogate from JSON becomes three bytes.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
