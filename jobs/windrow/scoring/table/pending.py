"""URLs that are to be asked again: rows with a passing status whose next attempt is due.

A run keeps such rows in files of their own. The one that asks them again replaces those files: its commit removes them
and adds its own, with the rows that were not due carried over. So a URL's newest attempt is the row that every reader
sees, and what it costs depends on what is pending, never on the table's size.
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
    """What is asked again: `targets` in the columns of urls.Target, and the `files` whose rows they replace."""

    targets: pa.Table = field(default_factory=TARGET_SCHEMA.empty_table)
    files: Sequence[Path] = ()


def due_files(files: Sequence[Path], now: datetime) -> list[Path]:
    """Those of the pending files that hold a row that is due."""
    return [path for path in files if pc.any(_is_due(pq.read_table(path, columns=["next_attempt"]), now)).as_py()]


def find(due: Sequence[Path], table: Sequence[Path], model: tuple[str, str], now: datetime) -> Due:
    """The due rows that a model of (name, version) is to ask again, one a URL.

    A row of another version is left to that version if this one has a row of its own for the URL: a challenger's
    failure is not the champion's to mend.
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
    """Write the rows of the replaced files that are not asked again now to a file.

    Another tool may have merged files: final rows stay, whoever is asked again.
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
