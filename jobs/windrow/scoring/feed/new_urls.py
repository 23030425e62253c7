"""Find the files of a feed, and the URLs in them that have no row yet.

Executors read the files, so that no machine needs memory for millions of lines, and leave out known URLs by key before
anything is shuffled. If there are only a few lines, the driver reads them itself while the executors still load the
network. feed_marks.py selects the parts of files to read, and formats.py reads them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from hashlib import sha256
from itertools import islice, takewhile
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from windrow.errors import UserError, WindrowError
from windrow.plural import counted
from windrow.scoring.feed import carried, feed_reports, formats, known_keys
from windrow.scoring.feed.feed_reports import FeedFault, PieceReport
from windrow.scoring.feed.file_bytes import PARQUET, TEXT
from windrow.scoring.feed.formats import Piece
from windrow.scoring.fetch.urls import Target
from windrow.stray import is_stray

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TARGET_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("url", "url_key", "address", "status", "error", "extra")),
        ("attempt", pa.int32()),
        ("content_hash", pa.string()),
    ]
)
"""The columns of urls.Target."""

DATE = "{date}"
"""The placeholder for a day in a feed's pattern."""

_ROWS_A_BATCH = 4096
_ROWS_A_LOOK = 64
_BATCH_CHARACTERS = 32 << 20
_FEW_BYTES = 2 << 20  # some 25,000 URLs, which take the driver a second
_RANK = "rank"  # 1 for a bare record, otherwise minus the number of its columns that hold something
_READ_SCHEMA = TARGET_SCHEMA.append(pa.field("known", pa.bool_())).append(pa.field(_RANK, pa.int32()))
_TYPES = [(field.name, field.type) for field in TARGET_SCHEMA]
_SPELLING = [name for name in TARGET_SCHEMA.names if name != "url_key"]
_EXTRA = _SPELLING.index("extra")
_VALUES, _NOTHING = attrgetter(*_SPELLING), (None,) * len(_SPELLING)
_ORDER = ("known", _RANK, *_SPELLING)
_SUFFIXES = {".txt", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"}
_GLOB_CHARACTERS = re.compile(r"[\[\]{}*?\\]")


def files(pattern: str, folder: Path) -> list[Path]:
    """List the files of a feed: one file, the files in a folder, or the files that a glob matches.

    A relative pattern is looked up in `folder`, and `**` matches any depth. A name that begins with . or _ is left out,
    because writers use such names for incomplete files, and so is what systems and programs leave in folders
    (windrow/stray.py). But the names of a single file, of a folder, and before the first wildcard of a glob are taken
    as they are. A folder, a broken link, a device or a pipe that is named like a file of a feed is listed as well, so
    that the run reports it.

    Raises:
        UserError: no file matches, or the pattern is not a glob.
    """
    given = folder / Path(pattern).expanduser()
    if given.is_file():
        return [given]
    matches = given.iterdir() if given.is_dir() else _matches(pattern, folder)
    fixed = len(given.parts) if given.is_dir() else _fixed(pattern, folder)
    found = sorted(path for path in matches if _is_feed(path, fixed))
    within = {parent for path in found for parent in path.parents}
    found = [path for path in found if path not in within]
    if not found:
        raise UserError(
            f"the feed must match at least one file; got none for {given}; put URLs there or correct scoring.feed"
        )
    return found


def of_day(pattern: str, day: date | None) -> str:
    """Return a pattern with `{date}` replaced by a day, or by a wildcard if no day is given.

    Raises:
        UserError: a day is given, and the pattern has no `{date}`.
    """
    if day and DATE not in pattern:
        raise UserError(
            f"a run of one day needs {DATE} in the feed; got --date {day} and {pattern!r}; "
            f"write scoring.feed as feeds/{DATE}/*.txt, or leave the date out"
        )
    return pattern.replace(DATE, day.isoformat() if day else "*")


def _matches(pattern: str, folder: Path) -> Iterator[Path]:
    """Yield the matches of a glob. The path `folder` is taken literally, even with glob characters in it."""
    path = Path(pattern).expanduser()
    base = Path(path.anchor) if path.is_absolute() else folder
    try:
        yield from base.glob(str(path.relative_to(base) if path.is_absolute() else path))
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"the feed must be a glob such as feeds/*.txt; got {pattern!r}; {error}") from error


def _fixed(pattern: str, folder: Path) -> int:
    """Count the parts of the path before the pattern's first wildcard; every match begins with them."""
    path = Path(pattern).expanduser()
    literal = len(list(takewhile(lambda part: not _GLOB_CHARACTERS.search(part), path.parts)))
    return literal if path.is_absolute() else len(folder.parts) + literal


def _is_feed(path: Path, fixed: int) -> bool:
    if any(part[0] in "._" for part in path.parts[fixed:]) or any(map(is_stray, path.parts[fixed:])):
        return False
    return path.is_file() or (path.suffix.lower() in _SUFFIXES and (path.exists() or path.is_symlink()))


@dataclass(frozen=True)
class FoundUrls:
    """The URLs in pieces of a feed, each once.

    Attributes:
        rows: the URLs without a row, with the columns of urls.Target.
        new, known: the number of URLs without a row, and with one.
        copies: records whose URL another record of these pieces has as well.
        report: the records that were read, and those without a URL.
        faults: the pieces that could not be read to their end.
    """

    rows: DataFrame | pa.Table
    new: int
    known: int
    copies: int
    report: PieceReport
    faults: Sequence[FeedFault]

    def check(self) -> None:
        """Check that no record was lost: each is new, known, a copy of another, or without a URL.

        Raises:
            WindrowError: the numbers do not add up.
        """
        kinds = (self.new, self.known, self.copies, self.report.without_url)
        if sum(kinds) != self.report.records:
            new, known, copies, without = kinds
            raise WindrowError(
                f"every record of the feed must be accounted for; got {counted(self.report.records, 'record')}, but "
                f"{new:,} new, {known:,} known, {copies:,} copies and {without:,} without a URL; nothing was kept"
            )


def are_few(pieces: Sequence[Piece]) -> bool:
    """Return whether the driver should read the pieces: together they are small, and none is Parquet or packed."""
    sizes = (piece.end - piece.start for piece in pieces)
    small = all(piece.form.kind != PARQUET and not piece.form.packing for piece in pieces)
    return small and sum(sizes) <= _FEW_BYTES


def read_here(pieces: Sequence[Piece], keys: known_keys.Keys) -> FoundUrls:
    """Return the URLs that `read` would return, but as an Arrow table and without Spark; for small pieces."""
    every = pa.Table.from_batches(_understood(pieces, keys), _READ_SCHEMA)
    reports = _reports(every.filter(pc.is_null(every["known"]))["extra"].to_pylist())
    rows = every.filter(pc.is_valid(every["known"]))
    rows = rows.take(pc.sort_indices(rows, [(name, "ascending", "at_start") for name in ("url_key", *_ORDER)]))
    all_keys = rows["url_key"].to_numpy()
    first = np.ones(len(all_keys), np.bool_)
    first[1:] = all_keys[1:] != all_keys[:-1]
    distinct = rows.filter(pa.array(first))
    new = distinct.filter(pc.invert(distinct["known"])).select(TARGET_SCHEMA.names)
    copies = rows.num_rows - distinct.num_rows
    return _found(new, new.num_rows, distinct.num_rows - new.num_rows, copies, reports)


def read(spark: SparkSession, pieces: Sequence[Piece], keys: known_keys.Keys, scratch: Path) -> FoundUrls:
    """Return the distinct URLs in pieces of a feed, valid or not, on Spark's executors.

    Of several records with one URL, the one with the most filled columns is kept, a bare one last, and of equals the
    one that sorts first.
    Executors read the files under the same paths as the driver.

    Args:
        spark: the session.
        pieces: the parts of the feed's files to read; at least one.
        keys: the sorted keys of the URLs that have a row.
        scratch: a folder on the driver for the file of keys, which is sent to the executors.

    Returns:
        The URLs; the frame of their rows is persisted, so that its rows are the same ones whenever it is used.
    """
    from pyspark.sql import functions as F  # noqa: N812
    from pyspark.sql.pandas.types import from_arrow_schema

    name = f"known-{uuid.uuid4().hex}.npy"  # a new name, because Spark can't replace a session's file
    np.save(scratch / name, keys)
    spark.sparkContext.addFile(str(scratch / name))
    parts = spark.createDataFrame([(piece.to_json(),) for piece in pieces], "piece string").repartition(len(pieces))
    read = parts.mapInArrow(partial(_understand, keys=name), from_arrow_schema(_READ_SCHEMA))
    # min takes the smallest by the struct's fields in their order.
    grouped = read.groupBy("url_key")
    target = F.min(F.struct(*_ORDER)).alias("target")
    # Persisted, so that a line added to the feed meanwhile is in both the counts and the rows, or in neither.
    marked = grouped.agg(target, F.count(F.lit(1)).alias("times")).select("url_key", "target.*", "times").persist()
    sums = marked.groupBy("known").agg(F.count(F.lit(1)).alias("urls"), F.sum("times").alias("times")).collect()
    counts = {row["known"]: (row["urls"], row["times"]) for row in sums}
    (new, new_times), (known, known_times) = counts.get(False, (0, 0)), counts.get(True, (0, 0))
    reports = _reports([row["extra"] for row in marked.where("known is null").select("extra").collect()])
    rows = marked.where(~F.col("known")).select(*TARGET_SCHEMA.names)
    return _found(rows, new, known, new_times + known_times - new - known, reports)


def _found(rows: DataFrame | pa.Table, new: int, known: int, copies: int, reports: Sequence[PieceReport]) -> FoundUrls:
    faults = [report.fault for report in reports if report.fault]
    return FoundUrls(rows, new, known, copies, feed_reports.total(reports), faults)


def _reports(texts: Sequence[str]) -> list[PieceReport]:
    """Read the pieces' reports, in an order that does not depend on the tasks."""
    return [PieceReport.from_json(text) for text in sorted(texts)]


def spark_path(path: Path) -> str:
    """Return the URI of a local file with its glob characters escaped, because Spark would expand them."""
    return "file://" + _GLOB_CHARACTERS.sub(lambda match: f"\\{match[0]}", str(path))


def _understand(batches: Iterator[pa.RecordBatch], keys: str) -> Iterator[pa.RecordBatch]:
    """Run a Spark task: turn pieces into targets."""
    from pyspark import SparkFiles

    mapped = np.load(SparkFiles.get(keys), mmap_mode="r")
    yield from _understood((Piece.from_json(text) for batch in batches for text in batch["piece"].to_pylist()), mapped)


def _understood(pieces: Iterable[Piece], keys: known_keys.Keys) -> Iterator[pa.RecordBatch]:
    """Yield the targets of pieces, and after those of each piece a row with its report, which has no value `known`."""
    for piece in pieces:
        report = PieceReport()
        found = formats.targets(piece, report)
        while some := _next(found, piece.form.kind != TEXT):
            yield _marked(some, keys)
        place = sha256(f"report {piece.path} {piece.start}".encode()).hexdigest()
        row = {"url_key": f"report-{place}", "extra": report.to_json()}
        yield pa.RecordBatch.from_pylist([row], schema=_READ_SCHEMA)


def _next(targets: Iterator[Target], carries: bool) -> list[Target]:
    """Return the next targets: 4,096, or fewer if their other columns are long; a record may have 1 MiB of them."""
    some: list[Target] = []
    size = 0
    while len(some) < _ROWS_A_BATCH and size < _BATCH_CHARACTERS and (part := list(islice(targets, _ROWS_A_LOOK))):
        some += part
        size += sum(len(target.extra or "") for target in part) if carries else 0
    return some


def _marked(targets: list[Target], keys: known_keys.Keys) -> pa.RecordBatch:
    """Return targets as a batch; for a known URL, only its key."""
    all_keys = pa.array([target.url_key for target in targets], pa.string())
    mask = known_keys.contains(keys, known_keys.of_hex(all_keys))
    rows = [_NOTHING if known else _VALUES(target) for target, known in zip(targets, mask.tolist(), strict=True)]
    columns = dict(zip(_SPELLING, zip(*rows, strict=True), strict=True))
    arrays = [all_keys if name == "url_key" else pa.array(columns[name], kind) for name, kind in _TYPES]
    ranks = [_rank(row[_EXTRA]) for row in rows]
    return pa.RecordBatch.from_arrays([*arrays, pa.array(mask), pa.array(ranks, pa.int32())], schema=_READ_SCHEMA)


def _rank(extra: str | None) -> int:
    return 1 if extra is None else -carried.filled(extra)
