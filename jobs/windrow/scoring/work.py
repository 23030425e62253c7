"""Find the URLs of a run: new URLs in the feed, URLs that are due again, and optionally URLs that others have labelled.

No URL is in two of these groups: a new URL has no row, and a URL that is due is left out of the third group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from windrow.errors import UserError
from windrow.plural import counted
from windrow.scoring.feed import feed_marks, known_keys, new_urls
from windrow.scoring.feed.feed_marks import Seen
from windrow.scoring.feed.feed_reports import FeedFault, shown_name
from windrow.scoring.feed.file_bytes import PARQUET
from windrow.scoring.feed.formats import Piece
from windrow.scoring.feed.new_urls import FoundUrls
from windrow.scoring.report.feed_figures import FeedFigures
from windrow.scoring.report.figures import UrlCounts
from windrow.scoring.table import pending, rescoring
from windrow.scoring.table.pending import Due, DueRule

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from windrow.scoring.table.predictions_table import PredictionTable

_SHOWN = 3

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
        refused: the files that are no feed, or that can't be read.
    """

    pieces: Sequence[Piece]
    marks: Seen
    before: Seen
    due: Sequence[Path]
    rule: DueRule
    rescore: bool
    limit: int | None = None
    refused: Sequence[FeedFault] = ()

    def __bool__(self) -> bool:
        return bool(self.pieces or self.due or self.rescore)

    @property
    def faults(self) -> FeedFigures:
        """The refused files, as the run's result has them."""
        return FeedFigures.of(self.refused)

    @property
    def refuses_anew(self) -> bool:
        """Whether marks of refused files are to be kept, so that the next run does not try these files again."""
        return self.marks != self.before and any(map(self._is_new, self.refused))

    def check(self, files: int, counts: UrlCounts, feed: FeedFigures) -> None:
        """Check that a new file of the feed could be read.

        Args:
            files: the number of the feed's files.
            counts, feed: what the run has read.

        Raises:
            UserError: none could be read of those that are new or changed, or of all files.
        """
        torn = feed.files_refused - len(self.refused)  # files that failed while they were read
        fresh = list(filter(self._is_new, feed.refused))
        nothing = not counts.records and torn == counts.files_read
        if nothing and feed.files_refused and (fresh or feed.files_refused == files):
            shown = "; ".join(map(str, (fresh or feed.refused)[:_SHOWN]))
            whole = counted(feed.files_refused, "file is", "files are")
            raise UserError(f"a feed needs a new file that can be read; {whole} refused: {shown}")

    def _is_new(self, fault: FeedFault) -> bool:
        """Whether a file was not refused as it is by an earlier run; one that can't be opened counts as new."""
        return not any(
            mark == self.marks.get(name) for name, mark in self.before.items() if shown_name(name) == fault.file
        )

    @property
    def at_most(self) -> int | None:
        """An upper bound of the number of URLs; None if it can't be known before they are read."""
        if self.due or self.rescore:
            return None
        if any(piece.form.kind == PARQUET or piece.form.packing for piece in self.pieces):
            return self.limit
        size = sum(piece.end - piece.start for piece in self.pieces)  # a URL has more than one byte
        return min(size, self.limit or size)


def look(
    table: PredictionTable, files: Sequence[Path], rescore: bool, limit: int | None = None, rule: DueRule | None = None
) -> FeedSearch:
    """Find the parts of the feed that the last run has not read, and the rows that are due again, without Spark."""
    rule = rule or DueRule()
    before = table.seen()
    pieces, marks, refused = feed_marks.news(files, before)
    due = pending.due_files(table.summaries(), rule)
    return FeedSearch(pieces, marks, before, due, rule, rescore, limit, refused)


@dataclass(frozen=True)
class Work:
    """The URLs of a run.

    Attributes:
        targets: the URLs, with the columns of urls.Target.
        due: the URLs that are due again, and the files whose rows they replace.
        counts: how many URLs the run found, by what it does with them.
        marks: how far the feed is read after the run; unchanged if the limit leaves URLs for the next run.
        feed: what the feed's files gave.
    """

    targets: DataFrame
    due: Due
    counts: UrlCounts
    marks: Seen
    feed: FeedFigures

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

    Raises:
        WindrowError: a record of the feed is not accounted for.
    """
    # Without this setting, the frames persisted below would keep their shuffles' partitions: 200 tasks for ten URLs.
    spark.conf.set("spark.sql.optimizer.canChangeCachedPlanOutputPartitioning", "true")
    read = _new(spark, table, search.pieces, scratch)
    read.check()
    targets, new = _frame(spark, read.rows), read.new
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
        urls=new + left + read.known,
        new=new,
        already_scored=read.known,
        left=left,
        retried=due.targets.num_rows,
        reopened=due.reopened,
        rescored=rescored,
        records=read.report.records,
        copies=read.copies,
        without_url=read.report.without_url,
    )
    marks = search.before if left else feed_marks.without(search.marks, read.faults)
    return Work(targets, due, counts, marks, FeedFigures.of(search.refused, read.faults, read.report))


def _new(spark: SparkSession, table: PredictionTable, pieces: Sequence[Piece], scratch: Path) -> FoundUrls:
    """Read the pieces, and find the URLs without a row."""
    keys = known_keys.read(table.files() if pieces else [])
    return new_urls.read_here(pieces, keys) if new_urls.are_few(pieces) else new_urls.read(spark, pieces, keys, scratch)


def _frame(spark: SparkSession, targets: pa.Table | DataFrame) -> DataFrame:
    """Return the targets as a Spark frame."""
    from pyspark.sql.pandas.types import from_arrow_schema

    if not isinstance(targets, pa.Table):
        return targets
    return spark.createDataFrame(targets, from_arrow_schema(new_urls.TARGET_SCHEMA))
