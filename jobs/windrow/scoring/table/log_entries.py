"""The log's entries for the files of a table, with the statistics by which a run finds what may be due.

Files with rows that are not final, and files with rows that a key of the page decided, are found by the log alone,
without opening any file of the history.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, RemoveAction

Range = tuple[str, str]
"""The first and the last of a file's values of `decided_by`, in alphabetical order; equal if there is one value."""

_UNKNOWN = "", "\N{REPLACEMENT CHARACTER}"  # its ends differ, so the file is read


@dataclass(frozen=True)
class FileSummary:
    """A file of the table, as far as it matters for what is due.

    Attributes:
        path: the file.
        pending: whether it has rows with a next attempt.
        decided_by: the range of the column decided_by; None if no key decided any of its rows.
    """

    path: Path
    pending: bool
    decided_by: Range | None = None


@dataclass(frozen=True)
class Statistics:
    """The statistics of a file: its rows, those without a next attempt, those that no key decided, and `decided_by`."""

    rows: int
    final_rows: int
    undecided_rows: int
    decided_by: Range | None = None

    @classmethod
    def of(cls, path: Path) -> Statistics:
        """Read the statistics from a file. A file of an earlier version of Windrow has no column decided_by."""
        file = pq.ParquetFile(path)
        names = [name for name in ("next_attempt", "decided_by") if name in file.schema_arrow.names]
        rows = file.metadata.num_rows
        nulls = {name: _nulls(file, name) if name in names else rows for name in ("next_attempt", "decided_by")}
        decided = None
        if nulls["decided_by"] < rows:
            values = pc.min_max(file.read(columns=["decided_by"])["decided_by"]).as_py()
            decided = values["min"], values["max"]
        return cls(rows, nulls["next_attempt"], nulls["decided_by"], decided)

    def to_json(self) -> str:
        """Return the statistics as JSON, as the log has them."""
        values: dict[str, Any] = {
            "numRecords": self.rows,
            "nullCount": {"next_attempt": self.final_rows, "decided_by": self.undecided_rows},
        }
        if self.decided_by:
            values["minValues"], values["maxValues"] = ({"decided_by": value} for value in self.decided_by)
        return json.dumps(values)


def _nulls(file: pq.ParquetFile, name: str) -> int:
    """Count a column's nulls by the footer; by its values if the footer does not count them."""
    metadata = file.metadata
    column = [metadata.schema.column(place).path for place in range(metadata.num_columns)].index(name)
    groups = [metadata.row_group(number).column(column) for number in range(metadata.num_row_groups)]
    if all(group.is_stats_set and group.statistics.has_null_count for group in groups):
        return sum(group.statistics.null_count for group in groups)
    return int(file.read(columns=[name])[name].null_count)


def summaries(delta: DeltaTable, folder: Path) -> list[FileSummary]:
    """Summarize the files of a table's snapshot by its log; a file without statistics in the log is read."""
    actions: Any = delta.get_add_actions(flatten=True)
    counts = ("num_records", "null_count.next_attempt", "null_count.decided_by")
    names = ("path", *counts, "min.decided_by", "max.decided_by")
    nothing = [None] * actions.num_rows
    columns = [actions.column(name).to_pylist() if name in actions.schema.names else nothing for name in names]
    return [_summary(folder / str(path), *facts) for path, *facts in zip(*columns, strict=True)]


def _summary(
    path: Path, rows: int | None, final: int | None, undecided: int | None, first: str | None, last: str | None
) -> FileSummary:
    if final is None or rows is None:
        read = Statistics.of(path)
        return FileSummary(path, read.final_rows < read.rows, read.decided_by)
    if undecided is None or undecided == rows:  # not counted: an earlier version of Windrow, which remembered no key
        return FileSummary(path, final < rows)
    return FileSummary(path, final < rows, _UNKNOWN if first is None or last is None else (first, last))


def add_action(path: Path, statistics: Statistics, folder: Path, data_change: bool) -> AddAction:
    """Return the log's entry that makes a file a part of the table in `folder`."""
    from deltalake.transaction import AddAction

    facts = path.stat()
    modified = int(facts.st_mtime * 1000)
    name = path.relative_to(folder).as_posix()
    return AddAction(name, facts.st_size, {}, modified, data_change, statistics.to_json())


def remove_action(path: Path, folder: Path, data_change: bool) -> RemoveAction:
    """Return the log's entry that takes a file out of the table in `folder`."""
    from deltalake.transaction import RemoveAction

    return RemoveAction(path.relative_to(folder).as_posix(), data_change, int(time.time() * 1000), None, {})
