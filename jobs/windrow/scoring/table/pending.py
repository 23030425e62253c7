"""Find the URLs that are due again: those of rows with a passing status whose `next_attempt` has come.

A run writes rows with a passing status to separate files. The run that tries them again replaces those files: its
commit removes them, and adds its own files with the new rows and a copy of the rows that were not due. So every reader
sees a URL's newest attempt, and the cost depends on the number of pending rows, not on the size of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from windrow.scoring.feed import known_keys
from windrow.scoring.feed.new_urls import TARGET_SCHEMA
from windrow.scoring.table import prediction


@dataclass(frozen=True)
class Due:
    """The URLs to try again (`targets`, with the columns of urls.Target), and the `files` that the commit replaces."""

    targets: pa.Table = field(default_factory=TARGET_SCHEMA.empty_table)
    files: Sequence[Path] = ()


def due_files(files: Sequence[Path], now: datetime) -> list[Path]:
    """List those of the given files of the table that have a row that is due at the time `now`."""
    return [path for path in files if pc.any(_is_due(pq.read_table(path, columns=["next_attempt"]), now)).as_py()]


def find(due: Sequence[Path], table: Sequence[Path], model: tuple[str, str], now: datetime) -> Due:
    """Return the URLs that are due and that a model tries again, each only once.

    A row of another model or version is left out if this model already has a row for the URL: the failure concerns the
    other model alone.

    Args:
        due: the files of the table with rows that are due; see `due_files`.
        table: all files of the table.
        model: the name and version of the model that will label.
        now: the time that decides which rows are due.
    """
    if not due:
        return Due()
    columns = ["url", "url_key", "address", "attempt", "extra", "next_attempt", "model_name", "model_version"]
    batches = (batch.filter(_is_due(batch, now)) for path in due for batch in prediction.read_rows(path, columns))
    rows = pa.Table.from_batches(batches).sort_by([("attempt", "descending")])
    foreign = pc.invert(known_keys.is_of(rows, model)).to_numpy()
    if foreign.any():
        taken = known_keys.contains(known_keys.read(table, model), _keys(rows))
        rows = rows.filter(pa.array(~(foreign & taken)))
    _, first = np.unique(_keys(rows), return_index=True)
    return Due(_as_targets(rows.take(np.sort(first))), list(due)) if len(first) else Due()


def _as_targets(rows: pa.Table) -> pa.Table:
    address = pc.coalesce(rows["address"], rows["url"])
    nothing = pa.nulls(rows.num_rows, pa.string())
    columns = {**{name: rows[name] for name in ("url", "url_key", "extra", "attempt")}, "address": address}
    return pa.table([columns.get(name, nothing) for name in TARGET_SCHEMA.names], schema=TARGET_SCHEMA)


def carry(due: Due, into: Path) -> None:
    """Copy, from the files that will be replaced, all rows that are not tried again to the Parquet file `into`.

    Final rows are always copied; the files contain final rows if another tool has merged files of the table.
    """
    asked = np.sort(_keys(due.targets))
    into.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(into, prediction.SCHEMA) as writer:
        for path in due.files:
            for rows in prediction.read_rows(path, prediction.SCHEMA.names):
                replaced = known_keys.contains(asked, known_keys.of_hex(rows.column("url_key")))
                final = rows.column("next_attempt").is_null()
                writer.write_batch(rows.filter(pc.or_(pa.array(~replaced), final)))


def _keys(rows: pa.Table) -> known_keys.Keys:
    return known_keys.of_hex(rows["url_key"].combine_chunks())


def _is_due(rows: Any, now: datetime) -> Any:
    return pc.fill_null(pc.less_equal(rows["next_attempt"], pa.scalar(now, pa.timestamp("us", "UTC"))), False)
