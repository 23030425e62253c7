"""Find out what a feed's file is from its content, and refuse what is no feed.

    form, records = file_forms.find(path, size)

The name decides only what the content leaves open: whether lines without a header are a CSV or plain URLs.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from windrow.scoring.feed import carried, csv_dialects, csv_records, file_bytes, formats, parquet_rows
from windrow.scoring.feed.feed_reports import FeedFileError
from windrow.scoring.feed.file_bytes import BYTE_ORDER_MARK, COMMENT, CSV, DOS_END, JSON_LINES, PARQUET, TEXT, FileForm
from windrow.scoring.feed.url_column import url_column
from windrow.scoring.fetch.status import Status

SAMPLE = 1000
"""The first lines of a file or records that are looked at. If most have no URL, the file is refused."""

_TABLES, _OBJECTS = {".csv", ".tsv", ".tab"}, {".jsonl", ".ndjson", ".json"}
_PACKED = {".gz", ".bz2", ".xz", ".zst", ".zstd"}
_URL = re.compile(rb"https?://", re.IGNORECASE)
# Columns of a table, or another URL after a blank or a line end that only some know: U+0085 and U+2028.
_MORE = re.compile(rb"[\t\x01]|(?:[ \x0b\x0c]|\xc2\x85|\xe2\x80\xa8)https?://", re.IGNORECASE)
# A label, or any other column, after the name of an image; what has other signs may be the rest of the URL.
_COLUMN = re.compile(
    rb"\.(?:jpe?g|png|gif|webp|bmp|tiff?|avif)[ ,;|]"
    rb"(?:[^/=&#%.]|\.(?!(?:jpe?g|png|gif|webp|bmp|tiff?|avif)\b))*$",
    re.IGNORECASE,
)
_LIST = re.compile(rb"\[\s*(?:$|[\[{\"'\]\d-])")
_NO_TEXT = re.compile(rb"[\0\x02-\x08\x0e-\x1f]")
_TAR, _TAR_PLACE = b"ustar", 257
_BEGINNING_BYTES = 512  # a tar archive's first header
_FOREIGN = {
    b"PK\x03\x04": "a zip archive, as Excel's .xlsx is; save it as CSV, or unpack it",
    b"PK\x05\x06": "an empty zip archive; unpack it",
    b"\xd0\xcf\x11\xe0": "a file of an old Microsoft Office; save it as CSV",
    b"%PDF": "a PDF; write URLs as text",
    b"\x89PNG": "an image; write its URL",
    b"\xff\xd8\xff": "an image; write its URL",
    b"GIF8": "an image; write its URL",
    b"ORC": "an ORC file; write Parquet",
    b"Obj\x01": "an Avro file; write Parquet",
    b"ARROW1": "an Arrow file; write Parquet",
    b"!<arch>": "an archive; unpack it",
    b"SQLite format 3": "a database; export a table as CSV",
    b"PARE": "an encrypted Parquet file; write it without encryption",
    b"{\\rtf": "a document of a text processor; save it as plain text",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"\x04\x22\x4d\x18": "packed with LZ4; pack it with gzip, or not at all",
}


def find(path: Path, size: int) -> tuple[FileForm, int | None]:
    """Return a file's form, and the number of its records if that is known before they are read.

    Args:
        path: the file.
        size: its size in bytes.

    Raises:
        FeedFileError: it can't be read, or is no feed.
    """
    beginning = _beginning(path)
    suffix = _suffix(path)
    if beginning.startswith(b"PAR1") or suffix == ".parquet":
        rows = sum(parquet_rows.groups(path))
        _check_values(path, parquet_rows.first_urls(path, SAMPLE))
        return FileForm(PARQUET), rows
    _refuse_foreign(path, beginning)
    packing = file_bytes.packing(beginning)
    inner = file_bytes.head(path, FileForm(TEXT, packing, encoding="")) if packing else beginning
    if packing:
        if inner.startswith(b"PAR1"):
            raise FeedFileError(path, "a Parquet file must not be packed as a whole; unpack it")
        _refuse_foreign(path, inner)
    form = FileForm(TEXT, packing, file_bytes.encoding(inner))
    if not form.bare:
        file_bytes.drain(path, form)
    return _of_text(path, form, suffix, size)


def _of_text(path: Path, form: FileForm, suffix: str, size: int) -> tuple[FileForm, int | None]:
    text = file_bytes.head(path, form).lstrip(BYTE_ORDER_MARK.encode())
    first = next((line for each in text.splitlines() if (line := each.strip())), b"")
    if not first:
        return FileForm(TEXT, form.packing, form.encoding), None
    if first.startswith(b"<"):
        raise FeedFileError(path, "a feed must be text, CSV, JSON lines or Parquet; got HTML or XML; list URLs", 1)
    if _LIST.match(first) and suffix not in _TABLES:
        raise FeedFileError(path, "a JSON file must hold one object a line; got a list; write it as JSON lines", 1)
    if first.startswith(b"{") or suffix in _OBJECTS:
        form = FileForm(JSON_LINES, form.packing, form.encoding)
        _check_objects(path, form, first)
        return form, None
    if suffix in _TABLES or csv_dialects.is_table(path, form):
        form, records = csv_dialects.find(path, FileForm(CSV, form.packing, form.encoding), size)
        place = form.columns.index("url")
        _check_values(path, ((line, values[place]) for line, values in csv_records.records(path, form, size)))
        return form, records
    _check_urls(path, form)
    return form, None


def _check_objects(path: Path, form: FileForm, first: bytes) -> None:
    """Refuse a file of which most lines are no JSON objects with a URL, such as one JSON document on many lines."""
    if first == b"{":
        raise FeedFileError(path, "a JSON file must hold one object a line; got '{' alone; write it as JSON lines", 1)
    broken, others = _Majority(), _Majority()
    for number, line in _sample(path, form):
        reason, other = "", ""
        try:
            if len(line) <= carried.LINE_BYTES:  # a longer one is a record that is too long
                record = carried.parse(line.decode("utf-8", "surrogateescape"))
                keys = ", ".join(record)[:100] or "none"
                name = url_column(record)
                other = _no_url(record[name]) if name else f"a record must have a key url; got {keys}"
        except carried.RecordError as error:
            if "must be one JSON object" in str(error):
                reason = str(error)
            else:
                other = str(error)
        broken.add(number, reason)
        others.add(number, other)
    broken.check(path, "most of the file's lines are no JSON objects")
    others.check(path, "most of the file's records have no URL", "; write one object with a url a line")


def _check_values(path: Path, values: Iterable[tuple[int, str | bytes | None]]) -> None:
    """Refuse a file with values in its column url of which most are no URLs; those without any do not count."""
    found = _Majority()
    for number, value in islice(values, SAMPLE):
        if value and value.strip():
            found.add(number, _no_url(value))
    cure = "; write URLs that begin with http:// or https://, as text"
    found.check(path, "most values of the file's column url are no URLs", cure)


def _check_urls(path: Path, form: FileForm) -> None:
    """Refuse a text of which most lines are no URLs, so that not each of them becomes a row, and what is no text."""
    found, comments = _Majority(), 0
    for number, line in _sample(path, form):
        if not found.records and (binary := _NO_TEXT.search(line)):
            what = f"got the byte {binary[0][0]:#04x} in the first line, as archives and packed files have"
            raise FeedFileError(path, f"a text must have no control characters; {what}; unpack it", number)
        if line.startswith(COMMENT.encode()):
            comments += b"://" in line
            continue
        has_more = _MORE.search(line) or (b"?" not in line and _COLUMN.search(line))
        found.add(number, "a URL must be alone in its line; got more" if has_more else _no_url(line))
    if comments and not found.records:
        raise FeedFileError(path, "a text must have lines that do not begin with #; got URLs after it alone; remove it")
    cure = "; write one URL a line, or a header with a column url"
    found.check(path, "most of the file's lines are no URLs", cure)


def _no_url(value: object) -> str:
    """Return why a value is no URL, empty if it is one.

    A value that begins as a URL does, and is not valid, is one that its writer meant as a URL: it gets a row.
    """
    line = value.encode("utf-8", "replace") if isinstance(value, str) else value
    if isinstance(line, bytes) and _MORE.search(line.strip()):
        return "a URL must be alone in its value; got more"
    if isinstance(line, bytes) and _URL.match(line.lstrip()):
        return ""
    if reason := formats.no_text(value):
        return reason
    target = formats.record_target(value)
    return target.error or "" if target and target.status == Status.INVALID_URL else ""


@dataclass
class _Majority:
    """Counts the faulty ones of a file's first records."""

    records: int = 0
    faulty: int = 0
    first: tuple[int, str] = (0, "")

    def add(self, number: int, reason: str) -> None:
        """Count a record; `reason` says what is wrong with it, and is empty if nothing is."""
        self.records += 1
        if reason:
            self.first = self.first if self.faulty else (number, reason)
            self.faulty += 1

    def check(self, path: Path, what: str, cure: str = "") -> None:
        """Raise a FeedFileError, with the first fault, if most records are faulty."""
        if 2 * self.faulty > self.records:
            number, reason = self.first
            raise FeedFileError(path, f"{what}: {reason}{cure}", number)


def _sample(path: Path, form: FileForm) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line) of the first 1,000 lines that are not blank, each cut to a little over a record's length."""
    with file_bytes.opened(path, form) as file:
        parts = (part for line in _beginnings(file) for part in _parts(line))
        numbered = (
            (number, part.removeprefix(b"\xef\xbb\xbf").removesuffix(DOS_END).strip())
            for number, part in enumerate(parts, 1)
        )
        yield from islice(((number, part) for number, part in numbered if part), SAMPLE)


def _parts(line: bytes) -> list[bytes]:
    """Return what ends with a newline as lines that may end with a carriage return alone."""
    return line.removesuffix(b"\n").removesuffix(b"\r").split(b"\r")


def _beginnings(file: io.BufferedReader) -> Iterator[bytes]:
    """Yield the lines of a file; of one that is longer than a record only the beginning."""
    while line := file.readline(carried.LINE_BYTES + 1):
        yield line
        while not line.endswith(b"\n") and (line := file.readline(carried.LINE_BYTES)):
            pass


def _refuse_foreign(path: Path, beginning: bytes) -> None:
    if beginning.startswith(_TAR, _TAR_PLACE):
        raise FeedFileError(path, "a feed must be text, CSV, JSON lines or Parquet; got a tar archive; unpack it")
    for magic, what in _FOREIGN.items():
        if beginning.startswith(magic):
            raise FeedFileError(path, f"a feed must be text, CSV, JSON lines or Parquet; got {what}")


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_BEGINNING_BYTES)
    except OSError as error:
        raise file_bytes.unreadable(path, error) from error


def _suffix(path: Path) -> str:
    """Return a name's suffix in lower case, before that of a packing."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""
