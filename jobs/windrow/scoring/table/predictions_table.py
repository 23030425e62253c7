"""The predictions table, in Delta format. Spark writes Parquet files; then one commit by delta-rs makes them visible.

    with held(folder, run_id):
        table = PredictionTable(folder)
        with table.staged(run_id) as staging:
            write(predictions, staging)
            version = table.commit(staging, run_id, {...}, replaced, marks)

A run changes everything in that one commit: the rows that it adds, the files whose rows they replace, and how far the
feed was read. Readers do not see the files of a run that did not commit. If the run failed, they are removed at once;
if it was killed, a later vacuum removes them (see upkeep.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.errors import ServiceError, UserError
from windrow.files import clear_when_full, why_full, write_bytes, write_text
from windrow.scoring.feed import feed_marks
from windrow.scoring.feed.feed_marks import Seen
from windrow.scoring.table import log_entries, prediction
from windrow.scoring.table.lock import OWN, place
from windrow.scoring.table.log_entries import FileSummary, Statistics

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyspark.sql import DataFrame

CommitFigures = dict[str, Any]
"""A commit's figures as JSON has them; CommittedRun.from_json reads them."""

# Each run's commit raises the version of this application transaction by one, from the version that the run found when
# it opened the table. Of two runs at the same time only one can commit, because the rows of the other might repeat its
# rows. On one machine the table's lock already prevents this; the transaction also works where locks do not.
_RUNS = "windrow.scoring"
# The version of this transaction is the beginning of the digest of a file, which has the marks of the feed. So the
# commit itself selects the marks: they can't be newer or older than the rows, whenever a run is killed.
_SEEN = "windrow.seen"
_HISTORY_COMMITS = 100
_TRIES = 10  # newest commits to search for those of a DAG run, which Airflow tries three times

DAG_RUN = "dagRunId"
"""The key in a commit's metadata for the id of Airflow's DAG run."""


class PredictionTable:
    """A snapshot of the table, taken when this object is created. Creates the table if it does not exist.

    Raises:
        UserError: the folder can't be created, or contains something other than a table of predictions.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = place(folder)
        self._delta = _open_or_create(self.folder)
        self._transaction = self._delta.transaction_version(_RUNS) or 0

    @property
    def version(self) -> int:
        """The Delta version of the snapshot."""
        return int(self._delta.version())

    def files(self) -> list[Path]:
        """List the Parquet files of the snapshot."""
        return _committed(self._delta, self.folder)

    def summaries(self) -> list[FileSummary]:
        """List the files of the snapshot with the log's statistics of their rows."""
        return log_entries.summaries(self._delta, self.folder)

    def pending_files(self) -> list[Path]:
        """List the files with rows that are not final."""
        return [each.path for each in self.summaries() if each.pending]

    def seen(self) -> Seen:
        """Return how far the feed was read, as of the last commit.

        Returns no marks if their file is lost. The feed is then read again, and URLs with rows are left out by key.
        """
        version = self._delta.transaction_version(_SEEN)
        path = self.folder / OWN / _seen_name(version or 0)
        return feed_marks.load(path.read_bytes()) if version is not None and path.is_file() else {}

    def untold(self) -> list[CommitFigures]:
        """List the figures of the runs that are not logged to the tracking server yet, oldest first."""
        after = self._told()
        entries = self._delta.history(self.version - after) if self.version > after else []
        return [self._figures(entry) for entry in reversed(entries) if "figures" in entry]

    def unreported(self, dag_run: str | None) -> list[CommitFigures]:
        """List the figures in the newest commits whose run could not report them, oldest first.

        These are the figures that are not logged yet, and those of the DAG run `dag_run`. This run must be a later try
        of that DAG run: the earlier tries ended with an error after their commit.
        """
        after = self._told()
        found: list[CommitFigures] = []
        for entry in self._delta.history(max(0, self.version - after) + _TRIES):
            if "figures" not in entry:
                continue
            if entry["version"] <= after and not (dag_run and entry.get(DAG_RUN) == dag_run):
                break
            found.append(self._figures(entry))
        return found[::-1]

    def _told(self) -> int:
        """Return the version up to which the commits' figures are logged to the tracking server."""
        path = self.folder / OWN / "told"
        return int(path.read_text()) if path.is_file() else 0

    def _figures(self, entry: Mapping[str, Any]) -> CommitFigures:
        """Return the figures in a commit with where they come from."""
        place = {"table": str(self.folder), "table_version": entry["version"], "scoring": entry["runId"]}
        return {**entry["figures"], **place}

    def past(self) -> Iterator[CommitFigures]:
        """Yield the figures of those of the last 100 commits that have figures, newest first."""
        return (entry["figures"] for entry in self._delta.history(_HISTORY_COMMITS) if "figures" in entry)

    def told(self) -> None:
        """Record that the figures of all commits are logged to the tracking server."""
        # Called after the logging: if the run is killed in between, figures are logged twice, but not lost.
        write_text(self.folder / OWN / "told", str(self.version))

    def vacuum(self) -> list[str]:
        """Remove files that no version of the last week contains, and files of runs that were killed over a week ago.

        Returns the paths of the removed files.
        """
        removed: list[str] = self._delta.vacuum(dry_run=False, full=True)
        return removed

    @contextmanager
    def staged(self, run_id: str) -> Iterator[Path]:
        """Yield a folder inside the table for a run's files; remove it afterwards unless they were committed."""
        folder = self.folder / f"run-{run_id}"
        try:
            with clear_when_full(self.folder):
                yield folder
        finally:
            # The log is read again, because a commit may succeed and still raise, for instance while its answer is
            # read. Removing the files of such a commit would lose rows that readers see.
            if not any(path.is_relative_to(folder) for path in _committed(_open(self.folder), self.folder)):
                shutil.rmtree(folder, ignore_errors=True)

    def commit(
        self,
        folder: Path,
        run_id: str,
        metadata: Mapping[str, object],
        replaced: Sequence[Path] = (),
        marks: Seen | None = None,
        data_change: bool = True,
    ) -> int:
        """Make a run's files visible, all at once and only once; return the table's new version.

        Args:
            folder: the folder that `staged` yielded.
            run_id: the run's id, stored in the commit.
            metadata: further JSON values to store in the commit.
            replaced: files of the table to remove; each of their rows has a copy, or a newer row, in the folder.
            marks: how far the feed was read with this run; None if that did not change.
            data_change: False if the commit only moves rows to other files.

        Raises:
            ServiceError: another run has committed since this table was opened.
        """
        from deltalake import CommitProperties, Transaction
        from deltalake.exceptions import CommitFailedError

        # Checked against the newest version, not the snapshot: a run that is repeated after its commit succeeded must
        # not add its rows twice, and a run that was overtaken must not commit at all.
        latest = _open(self.folder)
        if latest.history(1)[0].get("runId") == run_id:
            return int(latest.version())
        if (latest.transaction_version(_RUNS) or 0) != self._transaction:
            raise self._overtaken()
        transactions = [Transaction(_RUNS, self._transaction + 1)]
        if marks is not None:
            transactions.append(Transaction(_SEEN, self._keep(marks)))
        properties = CommitProperties(custom_metadata={"runId": run_id, **metadata}, app_transactions=transactions)
        found = [(path, Statistics.of(path)) for path in written(folder)]
        added = [log_entries.add_action(path, each, self.folder, data_change) for path, each in found if each.rows]
        actions = [*added, *(log_entries.remove_action(path, self.folder, data_change) for path in replaced)]
        try:
            # The check above and this write are not one step; delta-rs refuses if another run commits in between.
            self._delta.create_write_transaction(actions, "append", prediction.SCHEMA, commit_properties=properties)
        except CommitFailedError as error:
            raise self._overtaken() from error
        return int(_open(self.folder).version())

    def note(self, run_id: str, marks: Seen) -> int:
        """Commit how far a run read the feed if it found no rows to add; return the table's new version."""
        with clear_when_full(self.folder):
            return self.commit(self.folder / f"run-{run_id}", run_id, {}, marks=marks)

    def _keep(self, marks: Seen) -> int:
        """Write the marks of the feed to a file; return the number in its name, by which the commit selects it."""
        text = feed_marks.dump(marks)
        version = int(sha256(text).hexdigest()[:15], 16)
        current = self._delta.transaction_version(_SEEN)
        # The current file stays, because the next run needs it if this commit fails; a later commit removes it.
        for path in (self.folder / OWN).glob("seen-*.json"):
            if path.name not in (_seen_name(version), _seen_name(current or 0)):
                path.unlink()
        write_bytes(self.folder / OWN / _seen_name(version), text)
        return version

    def _overtaken(self) -> ServiceError:
        return ServiceError(
            f"one scoring run at a time may write to {self.folder}; another one committed meanwhile; "
            "nothing of this one is kept, run it again for what is left"
        )


def write(predictions: DataFrame, folder: Path) -> None:
    """Write predictions as Parquet files that readers do not see yet.

    Rows that may be due some day go to separate files, which a later run can replace: pending ones, and for each value
    of `decided_by` those that it decided. So a changed key of the page costs reading only the rows that it decided.

    Raises:
        ServiceError: a disk is full.
    """
    from pyspark.sql import functions as F  # noqa: N812

    # Spark's default, INT96, is not a type that Delta knows.
    predictions.sparkSession.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    decided = F.concat(F.lit("decided-"), F.crc32("decided_by"))  # null if no key decided
    kind = F.when(F.col("next_attempt").isNotNull(), "pending").otherwise(F.coalesce(decided, F.lit("final")))
    marked = predictions.withColumn("kind", kind)
    writer = marked.write.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false").partitionBy("kind")
    try:
        writer.parquet(f"file://{folder}")
    except Exception as error:
        if reason := why_full(error):
            raise ServiceError(
                f"{folder.parent}, and every executor's own disk, must have room for the rows; got {reason}; "
                "free some, then run again"
            ) from error
        raise


def written(folder: Path) -> list[Path]:
    """List the Parquet files in a run's folder; some may have no rows."""
    return sorted(folder.rglob("part-*.parquet"))


def parts(folder: Path) -> list[Path]:
    """List the Parquet files with rows in a run's folder."""
    return [path for path in written(folder) if Statistics.of(path).rows]


def _seen_name(version: int) -> str:
    return f"seen-{version:015x}.json"


def _committed(delta: DeltaTable, folder: Path) -> list[Path]:
    actions: Any = delta.get_add_actions()
    return [folder / str(path) for path in actions.column("path").to_pylist()]


def _open(folder: Path) -> DeltaTable:
    from deltalake import DeltaTable

    return DeltaTable(str(folder))


def _open_or_create(folder: Path) -> DeltaTable:
    """Open a table, or create it. Add the columns that a table of an earlier version of Windrow lacks.

    Raises:
        UserError: the folder has a Delta table with other columns.
    """
    from deltalake import DeltaTable, Schema

    if not DeltaTable.is_deltatable(str(folder)):
        return DeltaTable.create(str(folder), prediction.SCHEMA, mode="ignore", name=folder.name)
    table = _open(folder)
    columns = [field.name for field in table.schema().fields]
    if not {"url", "url_key", "status"} <= set(columns) <= set(prediction.SCHEMA.names):
        found = ", ".join(columns)
        raise UserError(f"{folder} must be a table of predictions; got columns {found}; choose another --table")
    if missing := [field for field in Schema.from_arrow(prediction.SCHEMA).fields if field.name not in columns]:
        table.alter.add_columns(missing)
    return table
