"""Read a feed whose records have a label: each URL once, with its class.

    feed = read(files, "class")

What can't be a training image is named with the reason: a record without a URL or a label, a URL that must not be
requested, and one that has two labels.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from windrow.data.folder import in_order
from windrow.data.splits import check_names
from windrow.errors import DatasetError
from windrow.experiment.wording import listed, shown
from windrow.plural import counted
from windrow.scoring.feed import feed_marks, formats
from windrow.scoring.feed.class_column import class_name
from windrow.scoring.feed.feed_reports import PieceReport
from windrow.scoring.feed.file_bytes import TEXT
from windrow.scoring.fetch.urls import Target

_SHOWN = 3


@dataclass(frozen=True)
class LabelledUrl:
    """A URL that can be requested, and its class."""

    url: str
    key: str
    address: str
    label: str


@dataclass(frozen=True)
class LabelledFeed:
    """What a feed holds.

    Attributes:
        urls: the URLs that can be requested, in the order of class and key.
        classes: the names of all classes, in the order of their indices.
        left_out: reason for each URL, or place in a file, that can't be a training image.
        unnamed: records without a URL that `left_out` does not name, because they are many.
    """

    urls: tuple[LabelledUrl, ...]
    classes: tuple[str, ...]
    left_out: dict[str, str]
    unnamed: int = 0

    @property
    def total(self) -> int:
        """Return the number of URLs, each counted once, and of records without one."""
        return len(self.urls) + len(self.left_out) + self.unnamed


@dataclass
class _Found:
    """What was read so far.

    Attributes:
        targets: each URL, by its key, as the first of its records has it.
        labels: the classes of each URL, by its key.
        columns: the names of the records' other columns.
        without_url: reason for each of the first records without a URL, by its place.
        unnamed: records without a URL that `without_url` does not name.
    """

    targets: dict[str, Target] = field(default_factory=dict)
    labels: dict[str, set[str]] = field(default_factory=dict)
    columns: dict[str, None] = field(default_factory=dict)
    without_url: dict[str, str] = field(default_factory=dict)
    unnamed: int = 0

    def add(self, target: Target, column: str) -> None:
        """Add a record."""
        record = json.loads(target.extra) if target.extra else {}
        self.targets.setdefault(target.url_key, target)
        labels = self.labels.setdefault(target.url_key, set())
        if column not in record:
            self.columns |= dict.fromkeys(record)
            return
        self.columns[column] = None
        value = record[column]
        if not isinstance(value, dict | list) and (name := class_name(value)):
            labels.add(unicodedata.normalize("NFC", name))

    def reject(self, report: PieceReport) -> None:
        """Add the records of a piece that have no URL."""
        named = {f"{fault.file}, line {fault.line}": fault.reason for fault in report.examples}
        self.without_url |= named
        self.unnamed += report.without_url - len(named)


def read(files: Sequence[Path], column: str) -> LabelledFeed:
    """Read a feed's files whole. A URL that is there twice with one label counts once.

    Raises:
        DatasetError: a file can't be read or has no columns, no record has the label's column, there are fewer than two
            classes or two that look the same, or nearly each URL has a class of its own.
    """
    found = _Found()
    for piece in _pieces(files):
        report = PieceReport()
        for target in formats.targets(piece, report):
            found.add(target, column)
        if report.fault:
            raise DatasetError(
                f"a data set's feed must be readable to its end; got {report.fault}; bring the whole file"
            )
        found.reject(report)
    if column not in found.columns:
        columns = listed(list(found.columns)) or "none but the URL"
        raise DatasetError(
            f"dataset.label must be a column of the feed; got {shown(column)}; its columns are {columns}; correct it"
        )
    return _sorted_out(found, column)


def _pieces(files: Sequence[Path]) -> Iterator[formats.Piece]:
    news = feed_marks.news(files, {})
    if news.refused:
        refused = "; ".join(map(str, news.refused[:_SHOWN]))
        whole = counted(len(news.refused), "file is", "files are")
        raise DatasetError(f"a data set's feed must be readable; {whole} refused: {refused}; correct or remove them")
    if text := [piece.path for piece in news.pieces if piece.form.kind == TEXT]:
        raise DatasetError(
            f"a data set's feed must be CSV, JSON lines or Parquet, with a column for the label; got text in {text[0]};"
            " write columns with a header"
        )
    yield from news.pieces


def _sorted_out(found: _Found, column: str) -> LabelledFeed:
    """Separate the URLs that can be requested from the others, and check the classes."""
    urls, left_out, classes = [], dict(found.without_url), set[str]()
    for key, target in found.targets.items():
        labels = found.labels[key]
        classes |= labels
        if target.address is None:
            left_out[target.url] = f"{target.status}: {target.error}"
        elif len(labels) != 1:
            got = f"labels that differ: {', '.join(in_order(labels))}" if labels else f"no label in {column}"
            left_out[target.url] = got
        else:
            urls.append(LabelledUrl(target.url, key, target.address, *labels))
    if len(classes) * 2 > len(found.targets):
        raise DatasetError(
            f"dataset.label must be a column of classes with two URLs or more on average; got {shown(column)}, with "
            f"{counted(len(classes), 'value')} for {counted(len(found.targets), 'URL')}; name the column of the classes"
        )
    names = tuple(in_order(classes))
    check_names(names)
    urls.sort(key=lambda each: (each.label, each.key))
    return LabelledFeed(tuple(urls), names, left_out, found.unnamed)
