"""Keep a table fast and small: merge small files into a few large ones, and remove files that no version needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from windrow.scoring.table import prediction
from windrow.scoring.table.prediction import read_rows
from windrow.scoring.table.predictions_table import PredictionTable

SMALL_BYTES = 64 << 20
LARGE_BYTES = 128 << 20


def maintain(table: PredictionTable, run_id: str) -> dict[str, int]:
    """Merge small files and vacuum the table; return how many files were merged, made and removed.

    The result also has the table's version. Merged files stay on disk for a week, so that older versions can still be
    read. Files of killed runs also stay for a week.
    """
    groups = list(_groups(table))
    merged = [path for group in groups for path in group]
    with table.staged(run_id) as folder:
        for number, group in enumerate(groups):
            _merge(group, folder / f"part-{number:05d}.parquet")
        if groups:
            table.commit(folder, run_id, {}, replaced=merged, data_change=False)
    removed = PredictionTable(table.folder).vacuum()
    version = PredictionTable(table.folder).version
    return {"merged": len(merged), "made": len(groups), "removed": len(removed), "table_version": version}


def _groups(table: PredictionTable) -> Iterator[list[Path]]:
    """Yield groups of two or more small files that fit into one large file.

    Files with pending rows are left out: a later run replaces them anyway.
    """
    group: list[Path] = []
    size = 0
    for path in sorted(set(table.files()) - set(table.pending_files())):
        facts = path.stat()
        if facts.st_size >= SMALL_BYTES:
            continue
        if group and size + facts.st_size > LARGE_BYTES:
            yield from [group] if len(group) > 1 else []
            group, size = [], 0
        group.append(path)
        size += facts.st_size
    yield from [group] if len(group) > 1 else []


def _merge(files: Sequence[Path], into: Path) -> None:
    """Write the rows of several Parquet files to the file `into`, with one row group in memory at a time."""
    into.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(into, prediction.SCHEMA) as writer:
        for path in files:
            for batch in read_rows(path, prediction.SCHEMA.names):
                writer.write_batch(batch)
