"""Find the files of a feed, and the URLs in them that have no row yet.

Executors read the files, so that no machine needs memory for millions of lines, and leave out known URLs by key before
anything is shuffled. If there are only a few lines, the driver reads them itself while the executors still load the
network. feed_marks.py selects the parts of files to read, and formats.py reads them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from windrow.errors import UserError
from windrow.scoring.feed import formats, known_keys
from windrow.scoring.feed.formats import Piece
from windrow.scoring.fetch.urls import Target

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
_FEW_BYTES = 2 << 20  # some 25,000 URLs, which take the driver a second
_READ_SCHEMA = TARGET_SCHEMA.append(pa.field("known", pa.bool_()))
_SPELLING = [name for name in TARGET_SCHEMA.names if name != "url_key"]
_GLOB_CHARACTERS = re.compile(r"[\[\]{}*?\\]")


def files(pattern: str, folder: Path) -> list[Path]:
    """List the files of a feed: one file, the files in a folder, or the files that a glob matches.

    A relative pattern is looked up in `folder`, and `**` matches any depth. A name that begins with . or _ is left out,
    because writers use such names for incomplete files; but the names of a single file, of a folder, and before the
    first wildcard of a glob are taken as they are.

    Raises:
        UserError: no file matches, or the pattern is not a glob.
    """
    given = folder / Path(pattern).expanduser()
    if given.is_file():
        return [given]
    matches = given.iterdir() if given.is_dir() else _matches(pattern, folder)
    fixed = len(given.parts) if given.is_dir() else _fixed(pattern, folder)
    found = sorted(path for path in matches if _is_feed(path, fixed))
    if not found:
        raise UserError(
            f"the feed must match at least one file; got none for {given}; put URLs there or correct --feed"
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
    return path.is_file() and not any(part[0] in "._" for part in path.parts[fixed:])


def are_few(pieces: Sequence[Piece]) -> bool:
    """Return whether the driver should read the pieces: together they are small, and none is Parquet."""
    sizes = (piece.end - piece.start for piece in pieces)
    return all(piece.kind != formats.PARQUET for piece in pieces) and sum(sizes) <= _FEW_BYTES


def read_here(pieces: Sequence[Piece], keys: known_keys.Keys) -> pa.Table:
    """Return the rows that `read` would return, but as an Arrow table and without Spark; for small pieces."""
    rows = pa.Table.from_batches(_understood(pieces, keys), _READ_SCHEMA)
    order = [(name, "ascending", "at_start") for name in ("url_key", "known", *_SPELLING)]
    rows = rows.take(pc.sort_indices(rows, order))
    all_keys = rows["url_key"].to_numpy()
    first = np.ones(len(all_keys), np.bool_)
    first[1:] = all_keys[1:] != all_keys[:-1]
    return rows.filter(pa.array(first))


def read(spark: SparkSession, pieces: Sequence[Piece], keys: known_keys.Keys, scratch: Path) -> DataFrame:
    """Return the distinct URLs in pieces of a feed, valid or not, with the columns of urls.Target and `known`.

    If a URL has several spellings, the one that sorts first is kept. For a known URL, only the key is kept. Executors
    read the files under the same paths as the driver.

    Args:
        spark: the session.
        pieces: the parts of the feed's files to read.
        keys: the sorted keys of the URLs that have a row.
        scratch: a folder on the driver for the file of keys, which is sent to the executors.
    """
    from pyspark.sql import functions as F  # noqa: N812
    from pyspark.sql.pandas.types import from_arrow_schema

    name = f"known-{uuid.uuid4().hex}.npy"  # a new name, because Spark can't replace a session's file
    np.save(scratch / name, keys)
    spark.sparkContext.addFile(str(scratch / name))
    rows = [(piece.path, piece.kind, piece.start, piece.end) for piece in pieces]
    parts = spark.createDataFrame(rows, "path string, kind string, start long, end long").repartition(len(rows))
    read = parts.mapInArrow(partial(_understand, keys=name), from_arrow_schema(_READ_SCHEMA)).groupBy("url_key")
    return read.agg(F.min(F.struct("known", *_SPELLING)).alias("target")).select("url_key", "target.*")


def spark_path(path: Path) -> str:
    """Return the URI of a local file with its glob characters escaped, because Spark would expand them."""
    return "file://" + _GLOB_CHARACTERS.sub(lambda match: f"\\{match[0]}", str(path))


def _understand(batches: Iterator[pa.RecordBatch], keys: str) -> Iterator[pa.RecordBatch]:
    """Run a Spark task: turn pieces into targets."""
    from pyspark import SparkFiles

    mapped = np.load(SparkFiles.get(keys), mmap_mode="r")
    yield from _understood((Piece(**row) for batch in batches for row in batch.to_pylist()), mapped)


def _understood(pieces: Iterable[Piece], keys: known_keys.Keys) -> Iterator[pa.RecordBatch]:
    for piece in pieces:
        found = formats.targets(piece)
        while some := list(islice(found, _ROWS_A_BATCH)):
            yield _marked(some, keys)


def _marked(targets: list[Target], keys: known_keys.Keys) -> pa.RecordBatch:
    """Return targets as a batch; for a known URL, only its key."""
    all_keys = pa.array([target.url_key for target in targets])
    mask = known_keys.contains(keys, known_keys.of_hex(all_keys))
    rows = [
        {"url_key": target.url_key, "known": True} if is_known else {**vars(target), "known": False}
        for target, is_known in zip(targets, mask.tolist(), strict=True)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_READ_SCHEMA)
