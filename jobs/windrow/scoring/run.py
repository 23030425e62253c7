"""Run one scoring run on a table that the caller has locked.

    run = ScoringRun(page, scoring, PredictionTable(folder), run_id, options, tracking)
    result = run.score(files)

A run finds the URLs, downloads and labels them, commits or withholds their rows, publishes the table, and is logged.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from windrow.errors import DriftError, TrackingError, WindrowError
from windrow.plural import counted
from windrow.scoring import pipeline, planning, progress, rehearsal, work
from windrow.scoring.fetch import byte_cache
from windrow.scoring.publish import copy
from windrow.scoring.report import album, drift, gallery, text
from windrow.scoring.report.figures import Agreement, Figures
from windrow.scoring.report.measurement import Measurement, measure
from windrow.scoring.report.result import CommittedRun, Logged, ScoringResult
from windrow.scoring.table import pending, predictions_table, rescoring, withheld
from windrow.scoring.table.lock import OWN
from windrow.scoring.table.predictions_table import PredictionTable
from windrow.scoring.table.withheld import WithheldRun
from windrow.spark import open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from windrow.experiment import Experiment, ScoringSection
    from windrow.model.network import Network
    from windrow.scoring.pipeline import ScoringPlan
    from windrow.scoring.work import FeedSearch, Work

    Pinned = Callable[[], Network]

IMAGES_PER_TASK = 64
"""The fewest images that are worth a task of their own: importing TensorFlow for fewer costs more than it gains."""


class Tracking(Protocol):
    """What a run needs of windrow.tracking. A Protocol, because tracking imports this package and not the reverse."""

    def pin(self, page: Experiment, scratch: Path) -> Network:
        """Return the network that labels the run's images. Its files may be downloaded to `scratch`."""
        ...

    def log_scoring(self, page: Experiment, run: CommittedRun, note: str, gallery: Path, withheld: bool) -> Logged:
        """Log a run, or update it if it is logged already.

        Args:
            page: the experiment page.
            run: the run; if withheld, with the table's version before it.
            note: the description of the run, in Markdown.
            gallery: the path of the run's gallery.
            withheld: whether the run's rows are withheld.

        Raises:
            TrackingError: the run can't be logged.
        """
        ...


@dataclass(frozen=True)
class Options:
    """Options of a run that are not on the page.

    Attributes:
        rescore: whether to label again the URLs that only earlier models have labelled.
        limit: largest number of new URLs; None for no limit.
        accept_drift: whether to commit rows that moved beyond the page's gate.
        feed: the pattern of the feed's files, for the record.
    """

    rescore: bool = False
    limit: int | None = None
    accept_drift: bool = False
    feed: str = ""


class ScoringRun:
    """One scoring run, with the id `run_id`. It is made for one snapshot of the table, and used once."""

    def __init__(
        self,
        page: Experiment,
        scoring: ScoringSection,
        table: PredictionTable,
        run_id: str,
        options: Options,
        tracking: Tracking,
    ) -> None:
        self._page, self._scoring, self._options, self._tracking = page, scoring, options, tracking
        self._table, self._folder, self._run_id = table, table.folder, run_id
        self._started = time.time()

    def count(self, files: Sequence[Path]) -> ScoringResult:
        """Count the URLs that a run would score, without downloading them or adding a row to the table."""
        search, nothing = self._look(files), replace(self._nothing(files), dry_run=True)
        if not search:
            return nothing
        name = f"count {self._page.name}"
        with tempfile.TemporaryDirectory(prefix="windrow-") as scratch, open_session(name) as spark:
            pinned = cache(lambda: self._tracking.pin(self._page, Path(scratch)))
            found = work.find(spark, self._table, search, lambda: pinned().identity, Path(scratch))
            return replace(nothing, counts=found.counts)

    def score(self, files: Sequence[Path]) -> ScoringResult:
        """Score the URLs that work.py finds, publish the table, and log the run; return the result.

        Raises:
            DriftError: the rows are withheld.
            PublishError: the rows are committed, but the table is not copied.
            TrackingError: the rows are committed, but the run is not logged.
        """
        search, result = self._look(files), self._nothing(files)
        copy.check(self._scoring.publish, self._folder)
        if search:  # without anything to do, neither Spark nor MLflow is needed
            result = self._label(search, result)
        return self.report(result)

    def _look(self, files: Sequence[Path]) -> FeedSearch:
        return work.look(self._table, files, self._options.rescore, self._options.limit)

    def _nothing(self, files: Sequence[Path]) -> ScoringResult:
        name = self._scoring.model_name or self._page.model_name
        return ScoringResult(str(self._folder), self._table.version, len(files), name)

    def _label(self, search: FeedSearch, nothing: ScoringResult) -> ScoringResult:
        """Find the URLs to score, score them, and commit or withhold their rows; return the result.

        If an earlier run with the same work was withheld, its rows are taken instead, and nothing is downloaded.
        """
        # The network is fetched while Spark starts, and loaded on the executors while the driver looks for work.
        with tempfile.TemporaryDirectory(prefix="windrow-") as scratch, ThreadPoolExecutor(1) as early:
            pinned = early.submit(self._tracking.pin, self._page, Path(scratch)).result
            if waiting := self._withheld(search, pinned):
                with self._table.staged(waiting.run_id) as rows:
                    return self._settle(waiting, rows, nothing)
            with open_session(f"score {self._page.name}") as spark:
                slots = _tasks(spark, search.at_most)
                rehearsed = early.submit(self._rehearse, spark, pinned, slots, Path(scratch))
                found = work.find(spark, self._table, search, lambda: pinned().identity, Path(scratch))
                if not found.urls:
                    return self._read_for_nothing(search, found, nothing)
                bytes_folder = self._folder / OWN / "bytes"
                downloads = byte_cache.of_folder(bytes_folder, self._scoring.keep_mebibytes)
                plan = replace(rehearsed.result(), cache=downloads)
                with self._table.staged(self._run_id) as rows:
                    figures = self._add_predictions(spark, found, plan, rows)
                    digest = self._digest(search, pinned())
                    values = figures.to_json()
                    done = WithheldRun(self._run_id, digest, values, found.due.files, found.marks, time.time())
                    return self._settle(done, rows, nothing)

    def _withheld(self, search: FeedSearch, pinned: Pinned) -> WithheldRun | None:
        """Return the withheld run if its work is the same as this run's; otherwise discard it and return None.

        A withheld run that is 12 hours old and would be withheld again is discarded as well.
        """
        waiting = withheld.read(self._folder)
        if waiting is None:
            return None
        figures = Figures.from_json(waiting.figures)
        wanted = (
            self._options.accept_drift or waiting.fresh or not drift.beyond(figures.drift, self._scoring.drift_gate)
        )
        if wanted and waiting.work == self._digest(search, pinned()):
            return waiting
        withheld.discard(self._folder)
        return None

    def _read_for_nothing(self, search: FeedSearch, found: Work, nothing: ScoringResult) -> ScoringResult:
        """Commit how far the run read the feed, if it read any of it, although it found no URL to score."""
        version = self._table.note(self._run_id, found.marks) if search.pieces else self._table.version
        return replace(nothing, counts=found.counts, table_version=version)

    def _rehearse(self, spark: SparkSession, pinned: Pinned, slots: int, scratch: Path) -> ScoringPlan:
        """Send the network to every host, and load it in every slot; return the completed plan."""
        plan = planning.plan_with(spark, self._scoring, pinned(), self._run_id, scratch)
        return rehearsal.rehearse(spark, plan, slots)

    def _digest(self, search: FeedSearch, model: Network) -> str:
        """Return the digest that identifies this run's work; see withheld.digest."""
        name = f"{model.name}/{model.version}/{model.digest}"
        options = search.rescore, search.limit
        return withheld.digest(search.marks, self._table.version, name, options, self._scoring)

    def _add_predictions(self, spark: SparkSession, found: Work, plan: ScoringPlan, rows: Path) -> Figures:
        """Score the URLs that were found, write their rows and the gallery, and return the run's figures.

        The folder `rows` also gets a copy of the other rows in the files that the commit will replace.
        """
        stamp = plan.stamp
        with album.of_run(self._folder, stamp.run_id, found.urls) as pictures:
            measured = _pass(spark, found, replace(plan, album=pictures), rows)
            figures = replace(
                measured.figures,
                counts=found.counts,
                model_name=stamp.model_name,
                model_version=stamp.model_version,
                precision=plan.precision,
                feed=self._options.feed,
                started_at=self._started,
                ended_at=time.time(),
            )
            if found.counts.rescored:
                files = predictions_table.written(rows)
                compared = rescoring.agreement(spark, self._table.files(), files, stamp.identity)
                figures = replace(figures, agreement=Agreement(*compared))
            past = (Figures.from_json(values) for values in self._table.past())
            figures = replace(figures, drift=drift.compare(figures, past))
            place = gallery.place(self._folder, stamp.run_id)
            gallery.write(place, self._page.name, figures, pictures, measured.failures)
        if found.due.files:
            pending.carry(found.due, rows / "part-carried.parquet")
        return figures

    def _settle(self, run: WithheldRun, rows: Path, nothing: ScoringResult) -> ScoringResult:
        """Commit a run's rows; withhold them if they moved beyond the gate, unless a person accepts the drift.

        Raises:
            DriftError: the rows are withheld.
        """
        figures, gate = Figures.from_json(run.figures), self._scoring.drift_gate
        moved = drift.beyond(figures.drift, gate)
        if moved and not self._options.accept_drift:
            if rows.is_dir():
                withheld.keep(self._folder, rows, run)
            raise self._withhold(run.run_id, figures, f"{moved}, beyond scoring.drift_gate of {gate:g}")
        if not rows.is_dir():
            withheld.restore(self._folder, run, rows)
        figures = replace(figures, drift_accepted=bool(moved))
        model = {"modelName": figures.model_name, "modelVersion": figures.model_version}
        metadata = {**model, "figures": figures.to_json()}
        version = self._table.commit(rows, run.run_id, metadata, run.replaced, run.marks)
        withheld.discard(self._folder)
        return replace(
            nothing,
            table_version=version,
            model_name=figures.model_name,
            model_version=figures.model_version,
            counts=figures.counts,
            figures=figures,
            run_id=run.run_id,
        )

    def _withhold(self, run_id: str, figures: Figures, why: str) -> DriftError:
        """Log a run whose rows are withheld, if MLflow answers, and return the error to raise."""
        pictures = gallery.place(self._folder, run_id)
        run = CommittedRun(run_id, str(self._folder), self._table.version, figures)
        try:
            self._tracking.log_scoring(self._page, run, text.note(figures, why), pictures, withheld=True)
        except TrackingError as error:
            print(f"the withheld run was not logged to MLflow: {error}", file=sys.stderr)
        return DriftError(
            f"{why}: {counted(figures.rows, 'row is', 'rows are')} withheld and {self._folder} is as it was; "
            f"look at {pictures}; then run "
            "again with --accept-drift to commit them, or correct the feed or the model and run again without"
        )

    def report(self, result: ScoringResult) -> ScoringResult:
        """Publish the table and log its runs; return the completed result. If one fails, the other is still attempted.

        Raises:
            PublishError: the table is not published.
            TrackingError: the runs are not logged.
        """
        failed: list[WindrowError] = []
        try:
            result = replace(result, copy=copy.publish(self._scoring.publish, self._folder))
        except WindrowError as error:
            failed.append(error)
        try:
            result = replace(result, logged=self._log(result.run_id))
        except WindrowError as error:
            failed.append(error)
        if failed:
            raise type(failed[0])("; ".join(map(str, failed)))
        return result

    def _log(self, run_id: str) -> Logged | None:
        """Log the table's commits that MLflow does not have yet; return the logged run for `run_id`, if any."""
        table, logged = PredictionTable(self._folder), None
        try:
            for values in table.untold():
                run = CommittedRun.from_json(values)
                pictures = gallery.place(self._folder, run.run_id)
                answer = self._tracking.log_scoring(self._page, run, text.note(run.figures), pictures, withheld=False)
                logged = answer if run.run_id == run_id else logged
        except TrackingError as error:
            raise TrackingError(
                f"predictions are committed to {self._folder}, but not logged; the next run logs them: {error}"
            ) from error
        table.told()
        gallery.prune(self._folder)
        return logged


def _tasks(spark: SparkSession, urls: int | None) -> int:
    """Return how many tasks to use for this many URLs; one per slot if their number is not known."""
    slots = spark.sparkContext.defaultParallelism
    return slots if urls is None else max(1, min(slots, -(-urls // IMAGES_PER_TASK)))


def _pass(spark: SparkSession, found: Work, plan: ScoringPlan, rows: Path) -> Measurement:
    """Download and label every URL, write the rows to the folder `rows`, and measure them.

    Raises:
        WindrowError: the rows are not exactly one per URL.
    """
    started = time.monotonic()
    with progress.shown(spark, found.urls) as address:
        plan, partitions = replace(plan, progress=address), _tasks(spark, found.urls)
        predictions_table.write(pipeline.score(found.targets, found.urls, plan, partitions), rows)
    seconds = time.monotonic() - started
    measured = measure(predictions_table.written(rows), seconds, spark.sparkContext.defaultParallelism)
    if not measured.figures.rows == measured.distinct_urls == found.urls:
        raise WindrowError(
            f"every URL must get one row; got {counted(measured.figures.rows, 'row')} for "
            f"{counted(found.urls, 'URL')}; nothing was kept"
        )
    return measured
