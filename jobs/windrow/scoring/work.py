"""Find the URLs of a run: new URLs in the feed, URLs that are due again, and optionally URLs that others have labelled.

No URL is in two of these groups: a new URL has no row, and a URL that is due is left out of the third group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from windrow.scoring.feed import feed_marks, formats, known_keys, new_urls
from windrow.scoring.feed.feed_marks import Seen
from windrow.scoring.feed.formats import Piece
from windrow.scoring.report.figures import UrlCounts
from windrow.scoring.table import pending, rescoring
from windrow.scoring.table.pending import Due, DueRule

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from windrow.scoring.table.predictions_table import PredictionTable

Identity = tuple[str, str]
"""A model's name and version."""


@dataclass(frozen=True)
class FeedSearch:
    """The places where a run looks for URLs. Its truth value is False if there is nothing to look at.

    Attributes:
        pieces: the parts of the feed that were not read yet.
        marks: how far the feed is read after the run.
        before: how far the feed is read before the run.
        due: the files of the table with rows that are due again.
        rule: what makes a row due.
        rescore: whether to label URLs of other models again.
        limit: the largest number of new URLs to take; None for no limit.
    """

    pieces: Sequence[Piece]
    marks: Seen
    before: Seen
    due: Sequence[Path]
    rule: DueRule
    rescore: bool
    limit: int | None = None

    def __bool__(self) -> bool:
        return bool(self.pieces or self.due or self.rescore)

    @property
    def at_most(self) -> int | None:
        """An upper bound of the number of URLs; None if it can't be known before they are read."""
        if self.due or self.rescore:
            return None
        if any(piece.kind == formats.PARQUET for piece in self.pieces):
            return self.limit
        size = sum(piece.end - piece.start for piece in self.pieces)  # a URL has more than one byte
        return min(size, self.limit or size)


def look(
    table: PredictionTable, files: Sequence[Path], rescore: bool, limit: int | None = None, rule: DueRule | None = None
) -> FeedSearch:
    """Find the parts of the feed that the last run has not read, and the rows that are due again, without Spark.

    Raises:
        UserError: a file of the feed is not in the format that its name says.
    """
    rule = rule or DueRule()
    before = table.seen()
    pieces, marks = feed_marks.news(files, before)
    due = pending.due_files(table.summaries(), rule)
    return FeedSearch(pieces, marks, before, due, rule, rescore, limit)


@dataclass(frozen=True)
class Work:
    """The URLs of a run.

    Attributes:
        targets: the URLs, with the columns of urls.Target.
        due: the URLs that are due again, and the files whose rows they replace.
        counts: how many URLs the run found, by what it does with them.
        marks: how far the feed is read after the run; unchanged if the limit leaves URLs for the next run.
    """

    targets: DataFrame
    due: Due
    counts: UrlCounts
    marks: Seen

    @property
    def urls(self) -> int:
        """The number of rows that the run will add."""
        return self.counts.to_do


def find(
    spark: SparkSession, table: PredictionTable, search: FeedSearch, model: Callable[[], Identity], scratch: Path
) -> Work:
    """Read the feed and the table, and return the URLs to score.

    Args:
        spark: the session.
        table: a snapshot of the table.
        search: where to look for URLs.
        model: returns the model that will label; called only if URLs are due again or to be rescored.
        scratch: a folder on the driver for temporary files.
    """
    # Without this setting, the frames persisted below would keep their shuffles' partitions: 200 tasks for ten URLs.
    spark.conf.set("spark.sql.optimizer.canChangeCachedPlanOutputPartitioning", "true")
    targets, new, already = _new(spark, table, search.pieces, scratch)
    left = new - min(new, search.limit or new)
    if left:  # ordered by key: the frame is computed more than once, and must have the same rows each time
        targets, new = targets.orderBy("url_key").limit(new - left), new - left
    due = pending.find(search.due, table.files(), model(), search.rule) if search.due else Due()
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
        reopened=due.reopened,
        rescored=rescored,
    )
    return Work(targets, due, counts, search.before if left else search.marks)


def _new(
    spark: SparkSession, table: PredictionTable, pieces: Sequence[Piece], scratch: Path
) -> tuple[DataFrame, int, int]:
    """Return (the feed's URLs without a row, their number, the number of URLs with one)."""
    from pyspark.sql import functions as F  # noqa: N812

    if new_urls.are_few(pieces):
        rows = new_urls.read_here(pieces, known_keys.read(table.files() if pieces else []))
        unknown = rows.filter(pc.invert(rows["known"])).select(new_urls.TARGET_SCHEMA.names)
        return _frame(spark, unknown), unknown.num_rows, rows.num_rows - unknown.num_rows
    # Persisted, so that a line added to the feed meanwhile is in both the counts and the rows, or in neither.
    marked = new_urls.read(spark, pieces, known_keys.read(table.files()), scratch).persist()
    counts = {row["known"]: row["count"] for row in marked.groupBy("known").count().collect()}
    new = marked.where(~F.col("known")).select(*new_urls.TARGET_SCHEMA.names)
    return new, counts.get(False, 0), counts.get(True, 0)


def _frame(spark: SparkSession, targets: pa.Table) -> DataFrame:
    """Return the targets as a Spark frame."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return spark.createDataFrame(targets, from_arrow_schema(new_urls.TARGET_SCHEMA))
