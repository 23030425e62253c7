"""What a run has to do: the feed's new URLs, those that are due again, and, if asked for, those of an earlier model.

No URL is in two of them: a new one has no row, and one that is due is not taken from an earlier model as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from windrow.scoring.feed import feed_marks, formats, known_keys, new_urls
from windrow.scoring.feed.feed_marks import Seen
from windrow.scoring.feed.formats import Piece
from windrow.scoring.report.figures import UrlCounts
from windrow.scoring.table import pending, rescoring
from windrow.scoring.table.pending import Due

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from windrow.scoring.table.predictions_table import PredictionTable

Identity = tuple[str, str]
"""A model's name and version."""


@dataclass(frozen=True)
class FeedSearch:
    """Where a run looks for work: what is new in the feed, the files with due rows, and whether to do old ones.

    `marks` says what of the feed has been seen once that work is done, `before` what had been until now. `limit` new
    URLs are taken at most.
    """

    pieces: Sequence[Piece]
    marks: Seen
    before: Seen
    due: Sequence[Path]
    rescore: bool
    now: datetime
    limit: int | None = None

    def __bool__(self) -> bool:
        return bool(self.pieces or self.due or self.rescore)

    @property
    def at_most(self) -> int | None:
        """How many URLs there may be at most; None if that can't be told before they are read."""
        if self.due or self.rescore:
            return None
        if any(piece.kind == formats.PARQUET for piece in self.pieces):
            return self.limit
        size = sum(piece.end - piece.start for piece in self.pieces)  # a URL has more than one byte
        return min(size, self.limit or size)


def look(table: PredictionTable, files: Sequence[Path], rescore: bool, limit: int | None = None) -> FeedSearch:
    """Where there is work, by the feed's files and the table alone.

    Raises:
        UserError: a file is no feed of its kind.
    """
    now = datetime.now(UTC)
    before = table.seen()
    pieces, marks = feed_marks.news(files, before)
    return FeedSearch(pieces, marks, before, pending.due_files(table.pending_files(), now), rescore, now, limit)


@dataclass(frozen=True)
class Work:
    """The URLs to ask, in the columns of urls.Target, with their counts, and which rows of the table they replace.

    `marks` says what of the feed has been seen once they are done: nothing more than before where some are left over.
    """

    targets: DataFrame
    due: Due
    counts: UrlCounts
    marks: Seen

    @property
    def urls(self) -> int:
        """How many rows the run will add."""
        return self.counts.to_do


def find(
    spark: SparkSession, table: PredictionTable, search: FeedSearch, model: Callable[[], Identity], scratch: Path
) -> Work:
    """Look for work.

    Args:
        spark: the session.
        table: what is known.
        search: where to look.
        model: the model that will label; not asked where only new URLs are looked for.
        scratch: a folder of the driver's own.
    """
    # Or what is kept below would stay in as many partitions as shuffles begin with: 200 tasks for ten URLs.
    spark.conf.set("spark.sql.optimizer.canChangeCachedPlanOutputPartitioning", "true")
    targets, new, already = _new(spark, table, search.pieces, scratch)
    left = new - min(new, search.limit or new)
    if left:  # which ones is settled by their keys: the frame is computed more than once
        targets, new = targets.orderBy("url_key").limit(new - left), new - left
    due = pending.find(search.due, table.files(), model(), search.now) if search.due else Due()
    rescored = 0
    if due.targets.num_rows:
        targets = targets.unionByName(_frame(spark, due.targets))
    if search.rescore and (files := table.files()):
        before = rescoring.targets(spark, files, model())
        if due.targets.num_rows:
            before = before.join(_frame(spark, due.targets).select("url_key"), "url_key", "left_anti")
        before = before.persist()
        rescored = before.count()
        targets = targets.unionByName(before)
    counts = UrlCounts(
        files_read=len({piece.path for piece in search.pieces}),
        urls=new + left + already,
        new=new,
        already_scored=already,
        left=left,
        retried=due.targets.num_rows,
        rescored=rescored,
    )
    return Work(targets, due, counts, search.before if left else search.marks)


def _new(
    spark: SparkSession, table: PredictionTable, pieces: Sequence[Piece], scratch: Path
) -> tuple[DataFrame, int, int]:
    """(the feed's URLs that have no row, how many those are, how many have one)."""
    from pyspark.sql import functions as F  # noqa: N812

    if new_urls.are_few(pieces):
        rows = new_urls.read_here(pieces, known_keys.read(table.files() if pieces else []))
        unknown = rows.filter(pc.invert(rows["known"])).select(new_urls.TARGET_SCHEMA.names)
        return _frame(spark, unknown), unknown.num_rows, rows.num_rows - unknown.num_rows
    # Kept, so that a line that is added to the feed now is not in one of the two and missing in the other.
    marked = new_urls.read(spark, pieces, known_keys.read(table.files()), scratch).persist()
    counts = {row["known"]: row["count"] for row in marked.groupBy("known").count().collect()}
    new = marked.where(~F.col("known")).select(*new_urls.TARGET_SCHEMA.names)
    return new, counts.get(False, 0), counts.get(True, 0)


def _frame(spark: SparkSession, targets: pa.Table) -> DataFrame:
    """The targets as Spark sees them."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return spark.createDataFrame(targets, from_arrow_schema(new_urls.TARGET_SCHEMA))
