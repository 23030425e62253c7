"""Read the records of a CSV file in one dialect, strictly: what does not fit it is an error with its line.

for line, values in csv_records.records(path, form, end): ...
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.plural import counted
from windrow.scoring.feed import file_bytes
from windrow.scoring.feed.feed_reports import FeedFileError
from windrow.scoring.feed.file_bytes import BYTE_ORDER_MARK, DOS_END, ESCAPED, PLAIN, FileForm

if TYPE_CHECKING:
    from _csv import Reader

RECORD_CHARACTERS = 1 << 20
"""The longest record: far above a URL with its columns, and small enough that a quote that is not closed is found."""

RECORD_LINES = 1000
"""The most lines of a record, whose values may contain line ends."""

URL = re.compile(r"\s*https?://", re.IGNORECASE)
"""Matches the beginning of a URL."""

_DOS_END = DOS_END.decode()
_NULL = r"\N"  # as Hive, MySQL and Snowflake write it
_QUOTE_OR_ESCAPE = re.compile(r'\\.?|"', re.DOTALL)
_OLD_MAC = re.compile(rb"[^\r\n]*\r(?!\n)")  # the first line ends with a carriage return alone
_LINE_END = re.compile(r"\r\n?|\n")  # no other character ends a line here, as some do for str.splitlines
_RETURN = "\udfff"  # stands for a carriage return within a value; no text that was decoded from UTF-8 has it


def records(path: Path, form: FileForm, end: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (the line that it begins in, its values) for each record after the header.

    Blank lines are skipped, and so is a header that comes again, as where several files were joined.

    Args:
        path: the file.
        form: how it is written.
        end: read only so many bytes of it, if it is not packed.

    Raises:
        FeedFileError: a record has more or fewer fields than the header, a quote is not closed, or a record is too
            long.
    """
    fields, before, line, plain = len(form.columns), form.before, 1, form.quoting == PLAIN
    header: list[str] = []
    last: str | None = None  # of the header; most records differ from it in this value
    with file_bytes.opened(path, form, end) as file:
        old_mac = _is_old_mac(file)
        text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="" if old_mac else "\n")
        lines = _Lines(path, text, old_mac)
        try:
            for values in reader(lines, form):
                if len(values) != fields or lines.unusual or plain:
                    if not values or (fields > 1 and len(values) == 1 and not values[0].strip()):
                        line = lines.begin()
                        continue
                    values[:] = [value.replace(_RETURN, "\r") for value in values]
                    if not before:
                        _check(path, form, line, values)
                if before:
                    before -= any(each.strip() for each in values)  # Excel may have empty rows above the header
                    header, last = values, values[-1]
                elif values[-1] != last or not _is_again(header, values):
                    yield line, values
                line = lines.begin()
        except csv.Error as error:
            raise FeedFileError(path, _misquoted(str(error)), line) from error


def _is_again(header: Sequence[str], values: Sequence[str]) -> bool:
    """Return whether a record is the file's header, with the byte order mark of the file that it was the header of."""
    return [values[0].lstrip(BYTE_ORDER_MARK), *values[1:]] == [header[0].lstrip(BYTE_ORDER_MARK), *header[1:]]


def reader(lines: Iterable[str], form: FileForm) -> Reader:
    """Return a strict reader of lines in a form."""
    csv.field_size_limit(RECORD_CHARACTERS)
    return csv.reader(
        _doubled(lines, form.delimiter) if form.quoting == ESCAPED else lines,
        delimiter=form.delimiter,
        quoting=csv.QUOTE_NONE if form.quoting == PLAIN else csv.QUOTE_MINIMAL,
        strict=True,
    )


def value(text: str) -> str | None:
    r"""Return a value: None for the null of databases, `\N`."""
    return None if text == _NULL else text


def unfinished(path: Path, form: FileForm, end: int) -> str:
    """Return a note if a file's last record has no line end, so that it may be cut off; empty otherwise."""
    if not form.bare or not end:
        return ""
    with path.open("rb") as file:
        file.seek(end - 1)
        last = file.read(1)
    with file_bytes.opened(path, form, end) as opened:
        ends = {b"\n", DOS_END, *([b"\r"] if _is_old_mac(opened) else [])}  # else a return is half of a line end
    if last in ends:
        return ""
    return "the last record has no line end; it is read as it stands, and again when the file has grown"


def _is_old_mac(file: io.BufferedReader) -> bool:
    return bool(_OLD_MAC.match(file.peek(1)))


def _misquoted(error: str) -> str:
    if "field larger" in error:
        return f"a record must have at most {RECORD_CHARACTERS:,} characters; got more; is a quote not closed?"
    if "unexpected end" in error:
        return "a quote must be closed; this record's is not; close it, or double a quote inside quotes"
    return f"a quote inside quotes must be doubled; {error}; write the file again with a CSV library"


def _check(path: Path, form: FileForm, line: int, values: Sequence[str]) -> None:
    """Refuse a record with another number of fields, and one that seems to hold other records in its quotes."""
    if len(values) != len(form.columns):
        first = "header" if form.before else "first record"
        counts = f"got {counted(len(values), 'field')}, and the {first} has {len(form.columns):,}"
        cure = "put values with a delimiter in quotes, or write the missing ones"
        raise FeedFileError(path, f"a record must have a field for each column; {counts}; {cure}", line)
    for place, text in enumerate(values):
        if form.quoting == PLAIN and form.delimiter != "\x01" and len(text) > 1 and text[0] == text[-1] == '"':
            raise FeedFileError(path, "a file with quoted values must close each quote; one is not; close it", line)
        if len(lines := _LINE_END.split(text)) > 1 and _holds_records(form, place, lines):
            reason = "a quoted value must not hold other records; this one's lines look like some; close the quote"
            raise FeedFileError(path, reason, line)


def _holds_records(form: FileForm, place: int, lines: Sequence[str]) -> bool:
    """Return whether a value of several lines seems to hold records, because a quote before it is one too many.

    Its first line then is the end of a record that began before it, and has that record's URL if this comes later. The
    other lines are whole records, but for the last one's end.
    """
    fields, wanted = len(form.columns), form.columns.index("url")
    first, *others = (line.split(form.delimiter) for line in lines)
    ends = len(first) > 1 and place + len(first) == fields
    if ends and place <= wanted and URL.match(first[wanted - place]):
        return True
    return any(wanted < len(parts) and len(parts) >= min(2, fields) and URL.match(parts[wanted]) for parts in others)


class _Lines:
    """The lines of a text, bounded in length, of the record that is being read.

    Attributes:
        unusual: whether the record has more than one line, or a carriage return that ends no line.
    """

    def __init__(self, path: Path, text: io.TextIOWrapper, old_mac: bool) -> None:
        self._path, self._text, self._old_mac = path, text, old_mac
        self._number, self._lines, self._characters = 1, 0, 0
        self.unusual = False

    def begin(self) -> int:
        """Begin a new record; return the number of its first line."""
        self._number += self._lines
        self._lines = self._characters = 0
        self.unusual = False
        return self._number

    def __iter__(self) -> Iterator[str]:
        readline = self._text.readline
        while line := readline(RECORD_CHARACTERS + 1):
            if line.endswith(_DOS_END) and not (line := line.removesuffix(_DOS_END)):
                return
            self._lines += 1
            self._characters += len(line)
            if self._lines > 1 or self._characters > RECORD_CHARACTERS:
                self._bound()
            if not self._old_mac and "\r" in line:
                inner = line.removesuffix("\n").removesuffix("\r")
                end = line[len(inner) :]
                self.unusual = self.unusual or "\r" in inner
                line = inner.replace("\r", _RETURN) + ("" if end == "\r" else end)  # half of the file's last line end
            yield line

    def _bound(self) -> None:
        self.unusual = True
        if self._characters > RECORD_CHARACTERS:
            raise FeedFileError(self._path, _misquoted("field larger"), self._number)
        if self._lines > RECORD_LINES:
            reason = f"a record must have at most {RECORD_LINES:,} lines; got more; is a quote not closed?"
            raise FeedFileError(self._path, reason, self._number)


def _doubled(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """Yield the lines of a file with escaped quotes as the same lines with doubled ones.

    As Spark writes them, a backslash escapes only quotes and backslashes, and only inside quotes.
    """
    quoted = False
    for line in lines:
        parts, done = [], 0
        for match in _QUOTE_OR_ESCAPE.finditer(line):
            start, found = match.start(), match[0]
            if found == '"':
                at_start = start == 0 or line[start - 1] == delimiter
                quoted = not quoted if quoted or at_start else quoted
            elif quoted and found in ('\\"', "\\\\"):
                parts += [line[done:start], '""' if found == '\\"' else "\\"]
                done = match.end()
        yield "".join([*parts, line[done:]])
