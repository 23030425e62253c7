"""Return the scoring runs of an experiment, and its newest labels and pictures, for the Windrow page.

All come from the predictions table and the folder `_windrow` in it: each run's figures are in its commit, so MLflow is
not needed. The table is only read, and the amount read is bounded, however long its history and however large its
files.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

from windrow.errors import AbsentError
from windrow.scoring.report.figures import Figures
from windrow.scoring.table.lock import OWN
from windrow.ui.scoring_figures import ShownRun, scoring_run

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyarrow.parquet import ParquetFile

    from windrow.scoring.report.album import Picture

_LOOKED_BACK = 200  # commits
_MOST_RUNS = 30
_MOST_ROWS = 24
_MOST_FILES = 8
_ROWS_READ = 200_000
_LONGEST_ADDRESS = 300  # characters
_COLUMNS = ("url", "status", "label", "score", "model_version", "scored_at")
_THUMBNAIL = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")


class ScoringRuns(TypedDict):
    """The scoring runs, newest first (`nights`), and the run whose rows a drift gate withholds, if there is one."""

    nights: list[ShownRun]
    withheld: ShownRun | None


class ShownPicture(TypedDict):
    """A thumbnail with its labels. `image` is a data URI, `group` the section of the gallery."""

    group: str
    address: str
    label: str
    score: float
    second: str
    second_score: float
    width: int
    height: int
    image: str


class ShownRow(TypedDict):
    """A row of the predictions table; `at` is Unix time in seconds."""

    status: str
    label: str | None
    score: float | None
    model_version: str | None
    address: str
    at: float


class ShownLabels(TypedDict):
    """The newest run's pictures, and the table's newest rows."""

    pictures: list[ShownPicture]
    rows: list[ShownRow]


@dataclass(frozen=True)
class _Commit:
    """A run's commit; `at` is Unix time in seconds."""

    run_id: str
    at: float
    figures: Figures


def stamp(table: Path) -> str:
    """Return a text that changes with every commit to the table, withheld run and gallery."""
    log = max((path.name for path in (table / "_delta_log").glob("*.json")), default="")
    aside = [table / OWN / "withheld" / "night.json", table / OWN / "galleries"]
    return "-".join([log, *(f"{path.stat().st_mtime_ns:x}" for path in aside if path.exists())])


def scoring_runs(table: Path, dag: str) -> ScoringRuns:
    """Return up to 30 scoring runs that were committed, newest first, and the run whose rows are withheld, if any.

    Args:
        table: the predictions table's folder.
        dag: the DAG that the message asks the reader to trigger if nothing was scored yet.

    Raises:
        AbsentError: nothing was scored yet, or the table can't be read.
    """
    found = [scoring_run(commit.figures, commit.at) for commit in _commits(_open(table, dag))][:_MOST_RUNS]
    withheld = _withheld(table)
    if not found and withheld is None:
        raise _nothing(dag)
    return {"nights": found, "withheld": withheld}


def labels(table: Path, dag: str) -> ShownLabels:
    """Return the pictures in the newest scoring run's gallery, and the table's newest rows.

    Raises:
        AbsentError: nothing was scored yet, or the table can't be read.
    """
    delta = _open(table, dag)
    commits = _commits(delta)
    rows = _newest(delta, table)
    if not rows:
        raise _nothing(dag)
    return {"pictures": _pictures(table, commits[0].run_id) if commits else [], "rows": rows}


def address(url: str) -> str:
    """Return a URL without user, password, query and fragment, which may hold secrets; a phrase for what is no URL."""
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return "an address that is no URL"
    return f"{parts.scheme}://{host}{parts.path}"[:_LONGEST_ADDRESS] if host else "an address that is no URL"


def _nothing(dag: str) -> AbsentError:
    # What labels is the page's matter, which is not read here: a champion of its own, another page's, or a file.
    needs = "Once there is a champion, or another network that labels,"
    return AbsentError(f"Nothing was labelled yet. {needs} trigger {dag}, and its runs and labels appear here.")


def _open(table: Path, dag: str) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    if not (table / "_delta_log").is_dir():
        raise _nothing(dag)
    try:
        return DeltaTable(str(table))
    except DeltaError as error:
        raise AbsentError("The predictions table can't be read: its log is damaged, or not a Delta table's.") from error


def _commits(delta: DeltaTable) -> list[_Commit]:
    return [
        _Commit(str(entry.get("runId", "")), entry["timestamp"] / 1000, Figures.from_json(entry["figures"]))
        for entry in delta.history(_LOOKED_BACK)
        if "figures" in entry
    ]


def _withheld(table: Path) -> ShownRun | None:
    file = table / OWN / "withheld" / "night.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return scoring_run(Figures.from_json(values["figures"]), float(values["at"]))


def _pictures(table: Path, run_id: str) -> list[ShownPicture]:
    from windrow.scoring.report import gallery

    chosen = gallery.read(table, run_id)
    if chosen is None:
        return []
    groups = {"least sure": chosen.unsure, "by label": chosen.examples, "at random": chosen.sample}
    return [
        _shown(picture, group)
        for group, pictures in groups.items()
        for picture in pictures
        if _THUMBNAIL.fullmatch(picture.image)
    ]


def _shown(picture: Picture, group: str) -> ShownPicture:
    return {
        "group": group,
        "address": address(picture.url),
        "label": picture.label,
        "score": picture.score,
        "second": picture.second,
        "second_score": picture.second_score,
        "width": picture.width,
        "height": picture.height,
        "image": picture.image,
    }


def _newest(delta: DeltaTable, table: Path) -> list[ShownRow]:
    """Return the 24 rows that were scored last, newest first.

    Only the 8 newest files are read, and about 200,000 of their rows at most.
    """
    read = 0
    newest: list[tuple[float, int, Any]] = []
    for file, group in _groups(_files(delta, table)):
        for batch in file.iter_batches(row_groups=[group], columns=list(_COLUMNS)):
            for row in batch.to_pylist():
                read += 1
                entry = (row["scored_at"].timestamp(), read, row)
                (heapq.heappush if len(newest) < _MOST_ROWS else heapq.heappushpop)(newest, entry)
            if read >= _ROWS_READ:
                return _newest_first(newest)
    return _newest_first(newest)


def _newest_first(rows: list[tuple[float, int, Any]]) -> list[ShownRow]:
    return [
        {
            "status": row["status"],
            "label": row["label"],
            "score": row["score"],
            "model_version": row["model_version"],
            "address": address(row["url"] or ""),
            "at": round(at, 1),
        }
        for at, _, row in sorted(rows, key=lambda entry: (-entry[0], entry[1]))
    ]


def _files(delta: DeltaTable, table: Path) -> list[Path]:
    actions: Any = delta.get_add_actions()
    pairs = zip(actions.column("modification_time").to_pylist(), actions.column("path").to_pylist(), strict=True)
    return [table / path for _, path in heapq.nlargest(_MOST_FILES, pairs)]


def _groups(files: list[Path]) -> Iterator[tuple[ParquetFile, int]]:
    """Yield (file, row group), newest first by the groups' statistics; skip files that were vacuumed meanwhile."""
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
