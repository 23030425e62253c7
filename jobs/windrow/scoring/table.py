"""The predictions table: Delta, through delta-rs. Spark writes Parquet files, then one commit makes them visible.

    table = PredictionTable(Path("tables/digits"))
    new, known = table.unknown(targets)
    with table.staged(run_id) as folder:
        write(predictions, folder)
        version = table.commit(folder, run_id, {...})

Files of a run that did not commit are invisible to readers, and are removed when the run fails.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from windrow.errors import ServiceError, UserError
from windrow.scoring import feed, prediction

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction
    from pyspark.sql import DataFrame

# Each run's commit raises this application transaction by one, from the number it saw when it read the known keys.
# Of two runs at once only one can: the other's rows might repeat the first one's.
_TRANSACTION = "windrow.scoring"


class PredictionTable:
    """A table as it stood when this object was made: what is known is known as of then.

    Raises:
        UserError: the folder can't be made, or holds something else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()
        self._delta = _open_or_create(self.folder)
        self._transaction = self._delta.transaction_version(_TRANSACTION) or 0

    @property
    def version(self) -> int:
        """The Delta version as of opening."""
        return int(self._delta.version())

    def files(self) -> list[Path]:
        """The Parquet files that make up the table as of opening."""
        return _committed(self._delta, self.folder)

    def unknown(self, targets: DataFrame) -> tuple[DataFrame, int, int]:
        """(the targets that have no row yet, how many those are, how many have one). Only the key column is read."""
        from pyspark.sql import functions as F  # noqa: N812

        spark = targets.sparkSession
        # Or what is kept below would stay in as many partitions as shuffles begin with: 200 tasks for ten URLs.
        spark.conf.set("spark.sql.optimizer.canChangeCachedPlanOutputPartitioning", "true")
        known = F.lit(None)
        if paths := [feed.spark_path(path) for path in self.files()]:
            keys = spark.read.schema("url_key string").parquet(*paths).distinct()
            targets = targets.join(keys.withColumn("known", F.lit(True)), "url_key", "left")
            known = F.col("known")
        # Kept, so that a line that is added to the feed now is not in one of the two and missing in the other.
        marked = targets.withColumn("known", known.isNotNull()).persist()
        counts = {row["known"]: row["count"] for row in marked.groupBy("known").count().collect()}
        return marked.where(~F.col("known")).drop("known"), counts.get(False, 0), counts.get(True, 0)

    @contextmanager
    def staged(self, run_id: str) -> Iterator[Path]:
        """A folder inside the table for a run's files. Removed on leaving, unless its files were committed."""
        folder = self.folder / f"run-{run_id}"
        try:
            yield folder
        finally:
            # Asked of the log and not remembered: a commit may land and still raise.
            if not any(path.is_relative_to(folder) for path in _committed(_open(self.folder), self.folder)):
                shutil.rmtree(folder, ignore_errors=True)

    def commit(self, folder: Path, run_id: str, metadata: Mapping[str, str]) -> int:
        """Make a run's files visible, all at once and once only; returns the table's new version.

        Raises:
            ServiceError: another run has committed since this table was opened.
        """
        from deltalake import CommitProperties, Transaction
        from deltalake.exceptions import CommitFailedError

        latest = _open(self.folder)
        if latest.history(1)[0].get("runId") == run_id:
            return int(latest.version())
        if (latest.transaction_version(_TRANSACTION) or 0) != self._transaction:
            raise self._overtaken()
        properties = CommitProperties(
            custom_metadata={"runId": run_id, **metadata},
            app_transactions=[Transaction(_TRANSACTION, self._transaction + 1)],
        )
        actions = [_add_action(path, self.folder) for path in parts(folder)]
        try:
            self._delta.create_write_transaction(actions, "append", prediction.SCHEMA, commit_properties=properties)
        except CommitFailedError as error:
            raise self._overtaken() from error
        return int(_open(self.folder).version())

    def _overtaken(self) -> ServiceError:
        return ServiceError(
            f"one scoring run at a time may write to {self.folder}; another one committed meanwhile; "
            "nothing of this one is kept, run it again for what is left"
        )


def write(predictions: DataFrame, folder: Path) -> None:
    """Write predictions as Parquet files that nobody sees yet."""
    # Spark's default, INT96, is not a type that Delta knows.
    predictions.sparkSession.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    predictions.write.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false").parquet(f"file://{folder}")


def parts(folder: Path) -> list[Path]:
    """The files that `write` wrote, without empty ones."""
    return [path for path in sorted(folder.glob("part-*.parquet")) if pq.read_metadata(path).num_rows]


def _add_action(path: Path, folder: Path) -> AddAction:
    from deltalake.transaction import AddAction

    facts = path.stat()
    statistics = json.dumps({"numRecords": pq.read_metadata(path).num_rows})
    modified = int(facts.st_mtime * 1000)
    return AddAction(path.relative_to(folder).as_posix(), facts.st_size, {}, modified, True, statistics)


def _committed(delta: DeltaTable, folder: Path) -> list[Path]:
    actions: Any = delta.get_add_actions()
    return [folder / str(path) for path in actions.column("path").to_pylist()]


def _open(folder: Path) -> DeltaTable:
    from deltalake import DeltaTable

    return DeltaTable(str(folder))


def _open_or_create(folder: Path) -> DeltaTable:
    from deltalake import DeltaTable

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{folder} must be a folder that can be made; {error.strerror}; choose another --table"
        raise UserError(reason) from error
    if DeltaTable.is_deltatable(str(folder)):
        table = _open(folder)
        columns = [field.name for field in table.schema().fields]
        if columns != prediction.SCHEMA.names:
            found = ", ".join(columns)
            raise UserError(f"{folder} must be a table of predictions; got columns {found}; choose another --table")
        return table
    if any(folder.iterdir()):
        raise UserError(f"{folder} must be empty or a table of predictions; got other files; choose another --table")
    return DeltaTable.create(str(folder), prediction.SCHEMA, mode="ignore", name=folder.name)
