"""The feed: text files with one image URL a line.

Spark reads them, so that a history of millions of lines is nobody's memory. Lines travel as bytes and only their
beginnings do: what is not UTF-8, or megabytes long, is one row with a reason and not a crash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from windrow.errors import UserError
from windrow.scoring import urls

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TARGET_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("url", "url_key", "address", "status", "error")],
)
_GLOB_CHARACTERS = re.compile(r"[\[\]{}*?\\]")


def files(pattern: str, folder: Path) -> list[Path]:
    """The files that a glob matches; a relative one is looked up in `folder`. `**` matches any depth.

    Names that begin with . or _ are left out: writers use them for files that are not whole yet.

    Raises:
        UserError: no file matches.
    """
    given = folder / Path(pattern).expanduser()
    found = [given] if given.is_file() else sorted(path for path in _matches(pattern, folder) if _is_feed(path))
    if not found:
        raise UserError(
            f"the feed must match at least one file; got none for {given}; put URLs there or correct --feed"
        )
    return found


def _matches(pattern: str, folder: Path) -> Iterator[Path]:
    """What a glob matches; `folder` is taken literally."""
    path = Path(pattern).expanduser()
    base = Path(path.anchor) if path.is_absolute() else folder
    try:
        yield from base.glob(str(path.relative_to(base) if path.is_absolute() else path))
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"the feed must be a glob such as feeds/*.txt; got {pattern!r}; {error}") from error


def _is_feed(path: Path) -> bool:
    return path.is_file() and path.name[0] not in "._"


def read(spark: SparkSession, paths: Sequence[Path]) -> DataFrame:
    """The distinct URLs of text files, as the columns of urls.Target, valid or not; blank lines are none.

    Of several spellings of a URL, the one that sorts first is kept.
    """
    from pyspark.sql import functions as F  # noqa: N812
    from pyspark.sql.pandas.types import from_arrow_schema

    line = F.col("value").cast("binary")  # a string column would pass bytes on that are no UTF-8
    lines = spark.read.text([spark_path(path) for path in paths]).select(
        F.substring(line, 1, urls.MAX_BYTES + 1).alias("line"),
        F.when(F.length(line) > urls.MAX_BYTES, F.sha2(line, 256)).alias("digest"),
    )
    targets = lines.mapInArrow(_understand, from_arrow_schema(TARGET_SCHEMA))
    columns = [name for name in TARGET_SCHEMA.names if name != "url_key"]
    return targets.groupBy("url_key").agg(F.min(F.struct(*columns)).alias("target")).select("url_key", "target.*")


def spark_path(path: Path) -> str:
    """A file of this machine's file system by its literal name: Spark would expand a glob in it."""
    return "file://" + _GLOB_CHARACTERS.sub(lambda match: f"\\{match[0]}", str(path))


def _understand(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        pairs = zip(batch.column("line"), batch.column("digest"), strict=True)
        targets = (urls.understand(line.as_py(), digest.as_py()) for line, digest in pairs)
        yield pa.RecordBatch.from_pylist([vars(target) for target in targets if target], schema=TARGET_SCHEMA)
