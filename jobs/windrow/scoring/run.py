"""Run one scoring run on a table that the caller has locked.

    run = ScoringRun(page, scoring, PredictionTable(folder), run_id, options, tracking)
    result = run.score(files)

A run finds the URLs, downloads and labels them, commits or withholds their rows, publishes the table, and is logged.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.errors import DriftError, TrackingError, UserError
from windrow.plural import counted
from windrow.scoring import one_pass, planning, rehearsal, reporting, work
from windrow.scoring.fetch import byte_cache
from windrow.scoring.publish import copy
from windrow.scoring.report import album, drift, gallery, text, truth
from windrow.scoring.report.figures import Agreement, Figures
from windrow.scoring.report.pace import held_back_by
from windrow.scoring.report.result import CommittedRun, ScoringResult
from windrow.scoring.table import earlier, pending, predictions_table, rescoring, withheld
from windrow.scoring.table.deciding import DecidingKeys
from windrow.scoring.table.lock import OWN
from windrow.scoring.table.pending import DueRule
from windrow.scoring.table.predictions_table import DAG_RUN, PredictionTable
from windrow.scoring.table.withheld import WithheldRun
from windrow.spark import open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from windrow.experiment import Experiment, ScoringSection
    from windrow.model.network import Network
    from windrow.scoring.pipeline import ScoringPlan
    from windrow.scoring.reporting import Tracking
    from windrow.scoring.work import FeedSearch, Work

    Pinned = Callable[[], Network]


@dataclass(frozen=True)
class Options:
    """Options of a run that are not on the page.

    Attributes:
        rescore: whether to label again the URLs whose newest label is of another model or version.
        limit: largest number of new URLs; None for no limit.
        accept_drift: whether to commit rows that moved beyond the page's gate.
        retry_statuses: statuses whose URLs are due in this run, also where they are final.
        feed: the pattern of the feed's files, for the record.
    """

    rescore: bool = False
    limit: int | None = None
    accept_drift: bool = False
    retry_statuses: frozenset[str] = frozenset()
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
        self._open = partial(open_session, minutes=page.cluster_minutes)
        self._dag_run = os.environ.get("AIRFLOW_CTX_DAG_RUN_ID")
        self._started = time.time()

    def count(self, files: Sequence[Path]) -> ScoringResult:
        """Count the URLs that a run would score, without downloading them or adding a row to the table."""
        nothing = replace(self._nothing(files, search := self._look(files)), dry_run=True)
        if not search:
            return replace(nothing, earlier_labels=self._earlier_labels())
        with tempfile.TemporaryDirectory(prefix="windrow-") as scratch, self._open(f"count {self._page.name}") as spark:
            pinned = cache(lambda: self._tracking.pin(self._page, Path(scratch)))
            found = work.find(spark, self._table, search, lambda: pinned().identity, Path(scratch))
            return replace(nothing, counts=found.counts, feed_faults=found.feed, earlier_labels=self._earlier_labels())

    def score(self, files: Sequence[Path]) -> ScoringResult:
        """Score the URLs that work.py finds, publish the table, and log the run; return the result.

        Raises:
            DriftError: the rows are withheld.
            PublishError: the rows are committed, but the table is not copied.
            TrackingError: the rows are committed, but the run is not logged.
            ShortfallError: the rows are committed, but too few URLs of this run, or of an earlier try, have a label.
            UserError: what was due is committed, but no new file of the feed can be read.
        """
        result = self._nothing(files, search := self._look(files))
        copy.check(self._scoring.publish, self._folder)
        unreported = self._table.unreported(self._dag_run)
        if search:  # without anything to do, Spark is not needed
            result = self._label(search, result)
        elif search.refuses_anew:
            result = replace(result, table_version=self._table.note(self._run_id, search.marks))
        if result.figures is None:
            result = replace(result, earlier_labels=self._earlier_labels())
        result = reporting.with_earlier(result, unreported)
        result = reporting.report(self._page, self._scoring, result, self._tracking, unreported)
        search.check(len(files), result.counts, result.feed_faults)
        return result

    def _look(self, files: Sequence[Path]) -> FeedSearch:
        """Find out what there is to do; with scoring.rescore also whether a new champion must label again."""
        rule = DueRule(keys=DecidingKeys.of(self._scoring), statuses=self._options.retry_statuses)
        search = work.look(self._table, files, self._options.rescore, self._options.limit, rule)
        if self._scoring.rescore == "champion" and not search.rescore and self._table.files():
            model = self._tracking.version(self._page)
            search = replace(search, rescore=bool(model and earlier.labels(self._table, model)))
        if search.due and not (search.pieces or search.rescore):  # after a rollback, perhaps nothing for this model
            model = self._tracking.version(self._page)
            if model and not pending.find(search.due, self._table.files(), model, rule).targets.num_rows:
                return replace(search, due=())
        return search

    def _earlier_labels(self) -> Mapping[str, int] | None:
        """Count the URLs with labels of other versions; None if the model is not in the registry, or not known.

        An error of the registry is only printed: a run that has nothing to do must not fail for it.
        """
        if not self._table.files():
            return {}
        try:
            model = self._tracking.version(self._page)
        except (TrackingError, UserError) as error:
            print(f"labels of other versions are not counted: {error}", file=sys.stderr)
            return None
        return earlier.labels(self._table, model) if model else None

    def _nothing(self, files: Sequence[Path], search: FeedSearch) -> ScoringResult:
        name = self._scoring.model_name or self._page.model_name
        return ScoringResult(str(self._folder), self._table.version, len(files), name, feed_faults=search.faults)

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
            with self._open(f"score {self._page.name}") as spark:
                slots = one_pass.tasks(spark, search.at_most)
                rehearsed = early.submit(self._rehearse, spark, pinned, slots, Path(scratch))
                found = work.find(spark, self._table, search, lambda: pinned().identity, Path(scratch))
                if not found.urls:
                    return self._read_for_nothing(search, found, nothing)
                bytes_folder = self._folder / OWN / "bytes"
                downloads = byte_cache.of_folder(bytes_folder, self._scoring.keep_mebibytes)
                plan = replace(rehearsed.result(), cache=downloads)
                with self._table.staged(self._run_id) as rows:
                    figures, replaced = self._add_predictions(spark, found, plan, rows)
                    digest, values = self._digest(search, pinned()), figures.to_json()
                    done = WithheldRun(self._run_id, digest, values, replaced, found.marks, time.time())
                    return self._settle(done, rows, nothing)

    def _withheld(self, search: FeedSearch, pinned: Pinned) -> WithheldRun | None:
        """Return the withheld run if its work is the same as this run's; otherwise discard it and return None.

        A withheld run that is 12 hours old and would be withheld again is discarded as well.
        """
        waiting = withheld.read(self._folder)
        if waiting is None:
            return None
        moved = drift.beyond(Figures.from_json(waiting.figures).drift, self._scoring.drift_gate)
        wanted = self._options.accept_drift or waiting.fresh or not moved
        if wanted and waiting.work == self._digest(search, pinned()):
            return waiting
        withheld.discard(self._folder)
        return None

    def _read_for_nothing(self, search: FeedSearch, found: Work, nothing: ScoringResult) -> ScoringResult:
        """Commit how far the run read the feed, if it read any of it, although it found no URL to score."""
        new = search.pieces or search.refuses_anew
        version = self._table.note(self._run_id, found.marks) if new else self._table.version
        return replace(nothing, counts=found.counts, table_version=version, feed_faults=found.feed)

    def _rehearse(self, spark: SparkSession, pinned: Pinned, slots: int, scratch: Path) -> ScoringPlan:
        """Send the network to every host, and load it in every slot; return the completed plan."""
        plan = planning.plan_with(spark, self._scoring, pinned(), self._run_id, scratch)
        return rehearsal.rehearse(spark, plan, slots)

    def _digest(self, search: FeedSearch, model: Network) -> str:
        """Return the digest that identifies this run's work; see withheld.digest."""
        name = f"{model.name}/{model.version}/{model.digest}"
        options = search.rescore, search.limit, *sorted(self._options.retry_statuses)
        return withheld.digest(search.marks, self._table.version, name, options, self._scoring)

    def _add_predictions(
        self, spark: SparkSession, found: Work, plan: ScoringPlan, rows: Path
    ) -> tuple[Figures, list[Path]]:
        """Score the URLs that were found, write their rows and the gallery.

        The folder `rows` also gets a copy of the other rows in the files that the commit will replace.

        Returns:
            The run's figures, and the files of the table that its commit replaces.
        """
        stamp, older = plan.stamp, pending.NO_ROWS
        with album.of_run(self._folder, stamp.run_id, found.urls) as pictures:
            measured = one_pass.run(spark, found, replace(plan, album=pictures), rows)
            written = predictions_table.written(rows)
            figures = replace(
                measured.figures,
                counts=found.counts,
                feed_faults=found.feed,
                model_name=stamp.model_name,
                model_version=stamp.model_version,
                precision=plan.precision,
                held_back_by=held_back_by(measured.busiest, measured.seconds, self._scoring),
                other_versions=self._labels_left(found, stamp.identity, written),
                feed=self._options.feed,
                started_at=self._started,
                ended_at=time.time(),
            )
            if column := self._scoring.truth:
                figures = replace(figures, truth=truth.compare(written, column, plan.model.labels))
            if found.counts.rescored:
                compared = rescoring.agreement(spark, self._table.files(), written, stamp.identity)
                figures = replace(figures, agreement=Agreement(*compared))
                older = pending.OlderRows.of(self._table.files(), written, stamp.identity)
            past = (Figures.from_json(values) for values in self._table.past())
            figures = replace(figures, drift=drift.compare(figures, past))
            place = gallery.place(self._folder, stamp.run_id)
            gallery.write(place, self._page.name, figures, pictures, measured.failures)
        return figures, pending.carry(found.due, rows, older) if found.due.files or older.files else []

    def _labels_left(self, found: Work, model: tuple[str, str], written: Sequence[Path]) -> Mapping[str, int]:
        """Count the labels of other versions that this run leaves as they are."""
        before = {} if found.counts.rescored else earlier.labels(self._table, model)
        if before and found.due.targets.num_rows:  # a URL that is due may have another version's label
            return earlier.count([*self._table.files(), *written], model)
        return before

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
        metadata = {**model, "figures": figures.to_json(), **({DAG_RUN: self._dag_run} if self._dag_run else {})}
        version = self._table.commit(rows, run.run_id, metadata, run.replaced, run.marks)
        withheld.discard(self._folder)
        return replace(
            nothing,
            table_version=version,
            model_name=figures.model_name,
            model_version=figures.model_version,
            counts=figures.counts,
            figures=figures,
            feed_faults=figures.feed_faults,
            run_id=run.run_id,
            earlier_labels=figures.other_versions,
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
