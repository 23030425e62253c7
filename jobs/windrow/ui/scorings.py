"""What the scorings of a page did: its nights, and the newest labels with their pictures.

The predictions table says all of it: each night's figures stand in its commit, so MLflow need not be there. A table is
opened for reading only, and what is read of it is bounded, however long its history and however large its files.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from windrow.errors import AbsentError
from windrow.scoring.table.lock import OWN
from windrow.ui.scoring_figures import night

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyarrow.parquet import ParquetFile

_LOOKED_BACK = 200  # commits
_MOST_NIGHTS = 30
_MOST_ROWS = 24
_MOST_FILES = 8
_ROWS_READ = 200_000
_LONGEST_ADDRESS = 300  # characters
_COLUMNS = ("url", "status", "label", "score", "model_version", "scored_at")
_THUMBNAIL = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")


def stamp(table: Path) -> str:
    """Another text after every commit, every withheld night and every gallery."""
    log = max((path.name for path in (table / "_delta_log").glob("*.json")), default="")
    aside = [table / OWN / "withheld" / "night.json", table / OWN / "galleries"]
    return "-".join([log, *(f"{path.stat().st_mtime_ns:x}" for path in aside if path.exists())])


def nights(table: Path, dag: str) -> dict[str, Any]:
    """The newest scorings that added rows, newest first, and what a drift gate withholds.

    Args:
        table: the predictions table's folder.
        dag: what to trigger where there is nothing yet.

    Raises:
        AbsentError: nothing was scored yet, or the table can't be read.
    """
    commits = _commits(_open(table, dag))
    found = [night(entry["figures"], entry["timestamp"] / 1000) for entry in commits][:_MOST_NIGHTS]
    withheld = _withheld(table)
    if not found and withheld is None:
        raise _nothing(dag)
    return {"nights": found, "withheld": withheld}


def labels(table: Path, dag: str) -> dict[str, Any]:
    """The pictures that the newest scoring has kept, and the table's newest rows.

    Raises:
        AbsentError: nothing was scored yet, or the table can't be read.
    """
    delta = _open(table, dag)
    commits = _commits(delta)
    rows = _newest(delta, table)
    if not rows:
        raise _nothing(dag)
    return {"pictures": _pictures(table, str(commits[0].get("runId", ""))) if commits else [], "rows": rows}


def address(url: str) -> str:
    """A URL as it may be shown: without user, password, query and fragment, in which secrets stand."""
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return "an address that is no URL"
    return f"{parts.scheme}://{host}{parts.path}"[:_LONGEST_ADDRESS] if host else "an address that is no URL"


def _nothing(dag: str) -> AbsentError:
    return AbsentError(f"Nothing was labelled yet. Trigger {dag}, and its nights and labels appear here.")


def _open(table: Path, dag: str) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    if not (table / "_delta_log").is_dir():
        raise _nothing(dag)
    try:
        return DeltaTable(str(table))
    except DeltaError as error:
        raise AbsentError("The predictions table can't be read: its log is damaged, or not a Delta table's.") from error


def _commits(delta: DeltaTable) -> list[dict[str, Any]]:
    return [entry for entry in delta.history(_LOOKED_BACK) if "figures" in entry]


def _withheld(table: Path) -> dict[str, Any] | None:
    file = table / OWN / "withheld" / "night.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return night(values["figures"], float(values["at"]))


def _pictures(table: Path, run_id: str) -> list[dict[str, Any]]:
    from windrow.scoring.report import gallery

    chosen = gallery.read(table, run_id)
    if chosen is None:
        return []
    groups = {"least sure": chosen.unsure, "by label": chosen.examples, "at random": chosen.sample}
    return [
        _shown(asdict(picture), group)
        for group, pictures in groups.items()
        for picture in pictures
        if _THUMBNAIL.fullmatch(picture.image)
    ]


def _shown(picture: Mapping[str, Any], group: str) -> dict[str, Any]:
    kept = ("label", "score", "second", "second_score", "width", "height", "image")
    return {"group": group, "address": address(picture["url"]), **{name: picture[name] for name in kept}}


def _newest(delta: DeltaTable, table: Path) -> list[dict[str, Any]]:
    """The rows that were scored last; of the newest files, and of those at most so many rows."""
    read = 0
    newest: list[tuple[float, int, dict[str, Any]]] = []
    for file, group in _groups(_files(delta, table)):
        for batch in file.iter_batches(row_groups=[group], columns=list(_COLUMNS)):
            for row in batch.to_pylist():
                read += 1
                entry = (row["scored_at"].timestamp(), read, row)
                (heapq.heappush if len(newest) < _MOST_ROWS else heapq.heappushpop)(newest, entry)
            if read >= _ROWS_READ:
                return _told(newest)
    return _told(newest)


def _told(newest: list[tuple[float, int, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {
            **{name: row[name] for name in ("status", "label", "score", "model_version")},
            "address": address(row["url"] or ""),
            "at": round(at, 1),
        }
        for at, _, row in sorted(newest, key=lambda entry: (-entry[0], entry[1]))
    ]


def _files(delta: DeltaTable, table: Path) -> list[Path]:
    actions: Any = delta.get_add_actions()
    pairs = zip(actions.column("modification_time").to_pylist(), actions.column("path").to_pylist(), strict=True)
    return [table / path for _, path in heapq.nlargest(_MOST_FILES, pairs)]


def _groups(files: list[Path]) -> Iterator[tuple[ParquetFile, int]]:
    """Row groups of files, the newest first by their statistics; a file that was vacuumed meanwhile is left out."""
    from pyarrow.parquet import ParquetFile

    found: list[tuple[float, ParquetFile, int]] = []
    for path in files:
        try:
            file = ParquetFile(path)
        except FileNotFoundError:
            continue
        names = [file.metadata.schema.column(place).path for place in range(file.metadata.num_columns)]
        column = names.index("scored_at")
        for group in range(file.metadata.num_row_groups):
            facts = file.metadata.row_group(group).column(column).statistics
            found.append((facts.max.timestamp() if facts and facts.has_min_max else 0.0, file, group))
    yield from ((file, group) for _, file, group in sorted(found, key=lambda entry: -entry[0]))
