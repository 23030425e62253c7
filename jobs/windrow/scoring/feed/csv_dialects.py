"""Find out how a CSV file is written, and check it as a whole.

    form, records = csv_dialects.find(path, FileForm(CSV), size)

Spark, pandas, Excel and Hive write different delimiters, quotes and headers, and a file does not say which. So each
dialect that the first record allows is tried on the whole file. The first in which every record has as many fields as
the header, and every quote is closed, is the file's. If there is none, the file is refused, and none of it is read.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

from windrow.scoring.feed import csv_records, file_bytes
from windrow.scoring.feed.csv_records import URL
from windrow.scoring.feed.feed_reports import FeedFileError
from windrow.scoring.feed.file_bytes import COMMENT, DOUBLED, ESCAPED, PLAIN, FileForm
from windrow.scoring.feed.url_column import url_column

COLUMNS = 10_000
"""The most columns."""

_DELIMITERS = (",", ";", "\t", "|", "\x01")
_NEVER_QUOTED = "\x01"  # Hive's own delimiter
_NEVER_IN_URLS = "\t\x01"
_ANY_DELIMITER = re.compile(f"[{''.join(_DELIMITERS)}]")
_NAMES_OF_URLS = ("url", "urls", "uri", "link")
_REST_OF_URL = re.compile(r"[/=?&#%]|\.(?:jpe?g|png|gif|webp|bmp|tiff?|avif)\b", re.IGNORECASE)
_SEPARATOR = re.compile(r'"?sep=(.)"?$', re.IGNORECASE)


def find(path: Path, form: FileForm, end: int) -> tuple[FileForm, int]:
    """Return how a CSV file is written, and its number of records.

    Args:
        path: the file.
        form: its packing and encoding.
        end: its size in bytes.

    Raises:
        FeedFileError: it has no column url, a column twice, or a record that does not fit the header.
    """
    text = _beginning(path, form)
    rest, comments, lines = _past_comments(text)
    found = candidates(path, text, form)
    if comments:
        # Those with a header first: a comment may have a URL, and as many fields as the records.
        below = candidates(path, rest, form, lines + 1)
        every = [(not each.before, each) for each in found]
        every += [(not each.before, replace(each, before=each.before + comments)) for each in below]
        found = [each for _, each in sorted(every, key=itemgetter(0))]
    if not found:
        line = _first_line(rest)
        delimiter = max(_DELIMITERS, key=line.count)
        shown = ", ".join(line.split(delimiter))[:200] or "none"
        raise FeedFileError(path, f"a CSV must have a column url; got {shown}; rename one", lines + 1)
    fault: FeedFileError | None = None
    for candidate in found:
        try:
            return candidate, sum(1 for _ in csv_records.records(path, candidate, end))
        except FeedFileError as error:
            fault = fault or error
    raise fault or FeedFileError(path, "a CSV must have a column url")


def is_table(path: Path, form: FileForm) -> bool:
    """Return whether a file whose name does not say so is a CSV, be it one that `find` refuses.

    Its first record has a column `url`, or one that seems to be meant as such, such as `Image URL`; or it has a URL and
    others between tabs or Hive's delimiter, or a URL in quotes.
    """
    text = _beginning(path, form)
    rest, comments, lines = _past_comments(text)
    return _is_table(path, text, form) or bool(comments and _is_table(path, rest, form, lines + 1))


def _is_table(path: Path, text: str, form: FileForm, number: int = 1) -> bool:
    line, found = _first_line(text), candidates(path, text, form, number)
    sure = any(each.before or (len(each.columns) > 1 and each.delimiter in _NEVER_IN_URLS) for each in found)
    return sure or bool(found and line.startswith('"')) or _is_header(line)


def _is_header(line: str) -> bool:
    """Return whether a line seems to be the header of a table with URLs in a column of another name than `url`."""
    names = [name.strip(" \"'").lower() for name in _ANY_DELIMITER.split(line)]
    return (
        len(names) > 1 and "://" not in line and line[0] != "#" and any(name.endswith(_NAMES_OF_URLS) for name in names)
    )


def candidates(path: Path, text: str, form: FileForm, number: int = 1) -> list[FileForm]:
    """Return the forms that a file's first record allows, the likeliest first; none without a column url.

    Without a header, as Spark and Hive write by default, the column is the only one whose first value is a URL.

    Args:
        path: the file.
        text: its beginning.
        form: its packing and encoding.
        number: the line that `text` begins in.

    Raises:
        FeedFileError: the header names a column twice, or has too many of them.
    """
    line = _first_line(text)
    separator = _SEPARATOR.match(line)
    before = 1 if separator else 0
    delimiters = (separator[1],) if separator else _in_order(path, line)
    with_header, without = [], []
    for each in (replace(form, delimiter=one, quoting=way) for one in delimiters for way in _quotings(one)):
        names = _first_record(text, each, before)
        wanted = url_column(names)
        columns = ["url" if name == wanted or name.strip() == "url" else name for name in names]
        if "url" in columns and not any(map(URL.match, columns)):
            with_header.append(replace(each, columns=_named(path, columns, number), before=before + 1))
        elif len(columns) > 1 and _has_url(columns, each.delimiter, line):
            named = ("url" if URL.match(value) else f"_c{place}" for place, value in enumerate(columns))
            without.append(replace(each, columns=tuple(named), before=before))
    if not with_header and not without:
        return _of_urls_alone(text, replace(form, delimiter=",", columns=("url",), before=before), line)
    # Without a header, those first that no URL contains: in http://a/x;v=1 and a tab, the semicolon is the URL's.
    without.sort(key=lambda each: (each.delimiter not in _NEVER_IN_URLS, -len(each.columns)))
    return sorted(with_header, key=lambda each: -len(each.columns)) or without


def _beginning(path: Path, form: FileForm) -> str:
    return file_bytes.head(path, form).decode("utf-8", "surrogateescape").lstrip(file_bytes.BYTE_ORDER_MARK)


def _past_comments(text: str) -> tuple[str, int, int]:
    """Return what follows the lines at a text's beginning that begin with #, and the number of these and of all lines.

    PowerShell writes such a line with a type, and others a title or a date. In a record of a CSV, # is data.
    """
    place = comments = lines = 0
    for line in io.StringIO(text, newline=""):
        if found := line.strip():
            if not found.startswith(COMMENT):
                break
            comments += 1
        place += len(line)
        lines += 1
    return (text[place:], comments, lines) if comments else (text, 0, 0)


def _first_line(text: str) -> str:
    """Return the first line that is not blank; empty without one."""
    return next((line for line in io.StringIO(text, newline=None) if line.strip()), "").removesuffix("\n")


def _first_record(text: str, form: FileForm, before: int) -> list[str]:
    """Return the first record after `before` others; empty if the form does not fit it."""
    try:
        reader = csv_records.reader(io.StringIO(text, newline=""), form)
        found = (values for values in reader if any(value.strip() for value in values))
        for _ in range(before):
            next(found, None)
        return next(found, [])
    except csv.Error:
        return []


def _quotings(delimiter: str) -> tuple[str, ...]:
    if delimiter == _NEVER_QUOTED:
        return (PLAIN,)
    return (DOUBLED, ESCAPED, PLAIN) if delimiter == "\t" else (DOUBLED, ESCAPED)


def _in_order(path: Path, line: str) -> tuple[str, ...]:
    """Return the delimiters that a first line has, the likeliest first; one of them if it has none."""
    tabbed = any(suffix.lower() in (".tsv", ".tab") for suffix in path.suffixes)
    order = ("\t", *_DELIMITERS) if tabbed else _DELIMITERS
    return tuple(dict.fromkeys(each for each in order if each in line)) or order[:1]


def _of_urls_alone(text: str, form: FileForm, line: str) -> list[FileForm]:
    """Return the forms of a file that has URLs and nothing else, with or without quotes; none if it has more."""
    if URL.match(line):
        several = sum(bool(URL.match(part)) for part in _ANY_DELIMITER.split(line)) > 1
        return [] if several or any(each in line for each in _NEVER_IN_URLS) else [form]
    forms = [replace(form, quoting=way) for way in (DOUBLED, ESCAPED)] if line.startswith('"') else []
    records = ((each, _first_record(text, each, form.before)) for each in forms)
    return [each for each, values in records if len(values) == 1 and URL.match(values[0])]


def _has_url(values: Sequence[str], delimiter: str, line: str) -> bool:
    """Return whether the first record of a file without a header has one URL that certainly ends where its field does.

    A URL may contain commas and semicolons: https://example.com/w_300,h_200/a.jpg is one field, not two, unless it is
    in quotes.
    """
    places = [place for place, text in enumerate(values) if URL.match(text)]
    if len(places) != 1:
        return False
    after = values[places[0] + 1 : places[0] + 2]
    safe = delimiter not in (",", ";") or not after or f'"{values[places[0]]}"' in line
    return safe or not ("?" in values[places[0]] or _REST_OF_URL.search(after[0]))


def _named(path: Path, columns: Sequence[str], line: int) -> tuple[str, ...]:
    """Return the columns' names; one without a name gets Spark's: _c and its place, from 0."""
    named = tuple(name or f"_c{place}" for place, name in enumerate(columns))
    if len(named) > COLUMNS:
        got = f"got {len(named):,}; leave some out"
        raise FeedFileError(path, f"a CSV must have at most {COLUMNS:,} columns; {got}", line)
    if len(set(named)) < len(named):
        twice = Counter(named).most_common(1)[0][0]
        raise FeedFileError(path, f"a CSV must name a column once; got {twice[:80]!r} twice; rename one", line)
    return named
