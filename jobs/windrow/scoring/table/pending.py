"""Find the URLs that are due again: their time has come, a key that decided them was loosened, or a person asks.

A run writes rows that may be due some day to separate files: those with a next attempt, and those that a key of the
page decided. The run that tries them again replaces those files: its commit removes them and adds its own, with a copy
of the rows that were not due. So every reader sees a URL's newest attempt, and the cost depends on what is pending or
what the key decided, not on the size of the table. Only a person's request by status reads every file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from windrow.scoring.feed import known_keys
from windrow.scoring.feed.new_urls import TARGET_SCHEMA
from windrow.scoring.fetch.status import Status
from windrow.scoring.table import prediction
from windrow.scoring.table.deciding import ATTEMPTS, NO_KEYS, DecidingKeys

if TYPE_CHECKING:
    from windrow.scoring.table.log_entries import FileSummary

_RULE_COLUMNS = ("next_attempt", "decided_by", "status", "final_url", "content_hash")


@dataclass(frozen=True)
class DueRule:
    """The conditions that make a row due.

    Attributes:
        now: rows whose next attempt is not later than this are due.
        keys: the page's values; rows that a stricter value decided are due.
        statuses: rows with one of these are due, unless their URL can't be requested at all.
    """

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    keys: DecidingKeys = NO_KEYS
    statuses: frozenset[str] = frozenset()

    def due(self, rows: Any) -> Any:
        """Return an Arrow mask of the rows that are due, of a batch or table with the columns _RULE_COLUMNS."""
        return pc.or_(self._by_time(rows), self._reopened(rows))

    def reopened(self, rows: Any) -> Any:
        """Return a mask of the rows that are due before their time, or although they are final."""
        return pc.and_not(self._reopened(rows), self._by_time(rows))

    def restarted(self, rows: Any) -> Any:
        """Return a mask of the rows whose attempts count from the beginning: a key other than ATTEMPTS was loosened."""
        texts = [text for text in _values(rows["decided_by"]) if set(self.keys.loosened(text)) - {ATTEMPTS}]
        return pc.is_in(rows["decided_by"], value_set=pa.array(texts, pa.string()))

    def may_be_in(self, file: FileSummary) -> bool:
        """Return whether a file may have rows that are due, according to the log."""
        if self.statuses or file.pending:
            return True
        if file.decided_by is None:
            return False
        first, last = file.decided_by
        return first != last or bool(self.keys.loosened(first))

    def _by_time(self, rows: Any) -> Any:
        return pc.fill_null(pc.less_equal(rows["next_attempt"], pa.scalar(self.now, pa.timestamp("us", "UTC"))), False)

    def _reopened(self, rows: Any) -> Any:
        texts = [text for text in _values(rows["decided_by"]) if self.keys.loosened(text)]
        by_key = pc.is_in(rows["decided_by"], value_set=pa.array(texts, pa.string()))
        asked = pc.is_in(rows["status"], value_set=pa.array(sorted(self.statuses), pa.string()))
        # A line of the feed that is no URL, or must not be requested, has neither: another run would end the same way.
        requested = pc.or_(pc.is_valid(rows["final_url"]), pc.is_valid(rows["content_hash"]))
        return pc.or_(by_key, pc.and_(asked, requested))


@dataclass(frozen=True)
class Due:
    """The URLs to try again.

    Attributes:
        targets: the URLs, in the columns of urls.Target.
        files: the files with the rows that the new ones replace.
        rule: what made them due.
        reopened: how many URLs are due before their time, or although they were final.
    """

    targets: pa.Table = field(default_factory=TARGET_SCHEMA.empty_table)
    files: Sequence[Path] = ()
    rule: DueRule = field(default_factory=DueRule)
    reopened: int = 0


def _no_keys() -> known_keys.Keys:
    return np.empty(0, known_keys.DTYPE)


@dataclass(frozen=True)
class OlderRows:
    """Rows of the model that labels, of URLs that it has labelled again. There are some after a rollback.

    The run's rows replace them. But a try that failed does not replace a label: the older row stays instead of the
    run's. Its scored_at becomes the time of this run, so that it is the URL's newest row again.

    Attributes:
        model: the model's name and version.
        keys: the sorted keys of the run's rows.
        kept: the sorted keys of the URLs whose older row stays, because it has a label and the run's has none.
        files: the files of the table with older rows.
        written: the run's files with the rows that failed, of the URLs in `kept`.
    """

    model: tuple[str, str] = ("", "")
    keys: known_keys.Keys = field(default_factory=_no_keys)
    kept: known_keys.Keys = field(default_factory=_no_keys)
    files: Sequence[Path] = ()
    written: Sequence[Path] = ()

    @classmethod
    def of(cls, table: Sequence[Path], written: Sequence[Path], model: tuple[str, str]) -> OlderRows:
        """Find them in the files of the table, by the keys in the files that the run has written."""
        all_of_run = cls(model, known_keys.read(written), _keys_of(written, lambda rows: pc.invert(_labelled(rows))))
        files = [path for path in table if _any_row(path, all_of_run.own)]
        found = replace(all_of_run, kept=_keys_of(files, all_of_run.stays), files=files)
        return replace(found, written=[path for path in written if _any_row(path, found.dropped)])

    def own(self, rows: Any) -> Any:
        """Return an Arrow mask of the table's older rows, of a batch with the columns _OLDER_COLUMNS."""
        return pc.and_(_among(self.keys, rows), known_keys.is_of(rows, self.model))

    def stays(self, rows: Any) -> Any:
        """Return a mask of the older rows that stay instead of the run's, of such a batch."""
        return pc.and_(pc.and_(self.own(rows), _labelled(rows)), _among(self.kept, rows))

    def replaced(self, rows: Any) -> Any:
        """Return a mask of the older rows that the run's rows replace, of such a batch."""
        return pc.and_not(self.own(rows), self.stays(rows))

    def dropped(self, rows: Any) -> Any:
        """Return a mask of the run's rows that an older row takes the place of, of such a batch."""
        return pc.and_not(_among(self.kept, rows), _labelled(rows))


_OLDER_COLUMNS = ("url_key", "status", "model_name", "model_version")
_Mask = Callable[[Any], Any]


def _labelled(rows: Any) -> Any:
    return pc.equal(rows["status"], Status.OK.value)


def _among(keys: known_keys.Keys, rows: Any) -> Any:
    return pa.array(known_keys.contains(keys, known_keys.of_hex(rows["url_key"])))


def _any_row(path: Path, mask: _Mask) -> bool:
    return any(pc.any(mask(rows)).as_py() for rows in prediction.read_rows(path, _OLDER_COLUMNS))


def _keys_of(files: Sequence[Path], mask: _Mask) -> known_keys.Keys:
    """Return the sorted keys of the rows in a mask."""
    batches = (rows for path in files for rows in prediction.read_rows(path, _OLDER_COLUMNS))
    return np.sort(
        np.concatenate([_no_keys(), *(known_keys.of_hex(rows.filter(mask(rows))["url_key"]) for rows in batches)])
    )


NO_ROWS = OlderRows()


def due_files(files: Sequence[FileSummary], rule: DueRule) -> list[Path]:
    """List the files that have a row that is due; those that the log rules out are not opened."""
    return [file.path for file in files if rule.may_be_in(file) and _has_due(file.path, rule)]


def _has_due(path: Path, rule: DueRule) -> bool:
    return any(pc.any(rule.due(rows)).as_py() for rows in prediction.read_rows(path, _RULE_COLUMNS))


def find(due: Sequence[Path], table: Sequence[Path], model: tuple[str, str], rule: DueRule) -> Due:
    """Return the due URLs that a model (name, version) tries again, each with the row that has the most attempts.

    A row of another model or version is left out if this model already has a row for the URL: the failure concerns the
    other model alone.

    Args:
        due: the files of the table with rows that are due; see `due_files`.
        table: all files of the table.
        model: the name and version of the model that will label.
        rule: what makes a row due.
    """
    if not due:
        return Due(rule=rule)
    columns = ["url", "url_key", "address", "attempt", "extra", "model_name", "model_version", *_RULE_COLUMNS]
    batches = (batch.filter(rule.due(batch)) for path in due for batch in prediction.read_rows(path, columns))
    rows = pa.Table.from_batches(batches).sort_by([("attempt", "descending")])
    foreign = pc.invert(known_keys.is_of(rows, model)).to_numpy()
    if foreign.any():
        taken = known_keys.contains(known_keys.read(table, model), _keys(rows))
        rows = rows.filter(pa.array(~(foreign & taken)))
    _, first = np.unique(_keys(rows), return_index=True)
    if not len(first):
        return Due(rule=rule)
    chosen = rows.take(np.sort(first)).combine_chunks()
    return Due(_as_targets(chosen, rule), list(due), rule, pc.sum(rule.reopened(chosen)).as_py())


def _as_targets(rows: pa.Table, rule: DueRule) -> pa.Table:
    columns = {name: rows[name] for name in ("url", "url_key", "extra")}
    columns["address"] = pc.coalesce(rows["address"], rows["url"])
    columns["attempt"] = pc.if_else(rule.restarted(rows), pa.scalar(0, pa.int32()), rows["attempt"])
    nothing = pa.nulls(rows.num_rows, pa.string())
    return pa.table([columns.get(name, nothing) for name in TARGET_SCHEMA.names], schema=TARGET_SCHEMA)


def carry(due: Due, folder: Path, older: OlderRows = NO_ROWS) -> list[Path]:
    """Copy the rows that stay, of the files that a run replaces, to files in a folder; return the replaced files.

    Of a URL that is tried again, only rows that are due or pending are replaced. Its other rows stay: a file
    has some if another tool merged files, or if a person asked for a status. The rows `older` are replaced, too, or
    stay instead of the run's: then the files in the folder with these rows of the run are replaced as well.
    """
    asked, now = np.sort(_keys(due.targets)), datetime.now(UTC)

    def of_table(rows: pa.RecordBatch) -> pa.RecordBatch:
        open_rows = pc.or_(rows["next_attempt"].is_valid(), due.rule.due(rows))
        replaced = pc.or_(pc.and_(_among(asked, rows), open_rows), older.replaced(rows))
        return _dated(rows, older.stays(rows), now).filter(pc.invert(replaced))

    def of_run(rows: pa.RecordBatch) -> pa.RecordBatch:
        return rows.filter(pc.invert(older.dropped(rows)))

    files = list(dict.fromkeys([*due.files, *older.files]))
    folder.mkdir(parents=True, exist_ok=True)
    writers: dict[str, pq.ParquetWriter] = {}
    with ExitStack() as stack:
        for path, staying in [*((path, of_table) for path in files), *((path, of_run) for path in older.written)]:
            for rows in prediction.read_rows(path, prediction.SCHEMA.names):
                for kind, some in _by_kind(staying(rows)):
                    if kind not in writers:
                        file = folder / f"part-carried-{len(writers)}.parquet"
                        writers[kind] = stack.enter_context(pq.ParquetWriter(file, prediction.SCHEMA))
                    writers[kind].write_batch(some)
    for path in older.written:  # not written over: Spark would miss the checksum that it keeps for each of its files
        path.unlink()
    return files


def _dated(rows: pa.RecordBatch, some: Any, now: datetime) -> pa.RecordBatch:
    """Set the time `scored_at` of the rows in a mask."""
    place, times = rows.schema.get_field_index("scored_at"), rows["scored_at"]
    return rows.set_column(place, "scored_at", pc.if_else(some, pa.scalar(now, times.type), times))


def _by_kind(rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Divide rows into those that predictions_table.write writes to separate files, each with a name."""
    pending = rows["next_attempt"].is_valid()
    kinds = pc.if_else(pending, "pending", pc.coalesce(rows["decided_by"], pa.scalar("final")))
    for kind in _values(kinds):
        yield kind, rows.filter(pc.equal(kinds, kind))


def _values(column: Any) -> list[str]:
    """Return the distinct texts in a column, without null."""
    return [value for value in pc.unique(column).to_pylist() if value is not None]


def _keys(rows: pa.Table) -> known_keys.Keys:
    return known_keys.of_hex(rows["url_key"].combine_chunks())
