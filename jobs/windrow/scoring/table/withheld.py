"""Keep the rows of a run that the drift gate withholds, until a person accepts them or the work changes.

    TABLE/_windrow/withheld/run-RUN/         the rows; no reader and no vacuum looks there
    TABLE/_windrow/withheld/night.json       the planned commit; written last

The feed does not count as read, so the next run finds the same URLs. If its work is the same, it checks these rows
against the gate again, without a download; with --accept-drift it commits them. If its work differs (more URLs, another
model, other settings, or a commit in between), it discards them and starts from the beginning. It also does so if it
runs more than 12 hours later and would withhold them again, because hosts may have fixed the cause by then. No URL is
lost, and no row gets into the table twice.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.files import write_text
from windrow.scoring.feed import feed_marks
from windrow.scoring.feed.feed_marks import Seen
from windrow.scoring.table.lock import OWN

if TYPE_CHECKING:
    from windrow.experiment import ScoringSection

_FOLDER = "withheld"
_FILE = "night.json"
_FRESH_SECONDS = 12 * 3600.0  # longer than a scheduler's retries take, shorter than from one nightly run to the next


@dataclass(frozen=True)
class WithheldRun:
    """A scoring run that is complete except for its commit.

    Attributes:
        run_id: the run's id, also in the name of its folder.
        work: the digest of everything that decided the run's rows; see `digest`.
        figures: the run's figures, as JSON values.
        replaced: files of the table that the run's commit replaces.
        marks: how far the feed is read after the commit.
        at: Unix time in seconds at which the run's rows were complete.
    """

    run_id: str
    work: str
    figures: Mapping[str, object]
    replaced: Sequence[Path]
    marks: Seen
    at: float

    @property
    def fresh(self) -> bool:
        """Return whether the rows are less than 12 hours old, which is too early to ask the hosts again."""
        return time.time() - self.at < _FRESH_SECONDS


def digest(marks: Seen, version: int, model: str, options: Sequence[object], settings: ScoringSection) -> str:
    """Return a digest of what determines a run's rows.

    Two runs with the same digest have the same URLs, and either could be committed in place of the other.

    Args:
        marks: how far the feed is read after the run.
        version: the table's version.
        model: the network's name, version and digest.
        options: whether URLs that other models have labelled are labelled again, the limit of new URLs, and the
            statuses to try again.
        settings: the page's scoring section. Its schedule, copy, drift gate and minimum share do not count, because
            they do not change the rows; neither do its feed, model and `rescore`, for which other arguments stand.
    """
    indifferent = {"drift_gate", "schedule", "feed", "model", "publish", "minimum_ok_share", "rescore"}
    if settings.truth is None:  # so that the digest of a page without it is that of an earlier Windrow
        indifferent.add("truth")
    decisive = settings.model_dump_json(exclude=indifferent)
    parts = [feed_marks.dump(marks).decode(), version, model, options, decisive]
    return sha256(json.dumps(parts).encode()).hexdigest()


def keep(table: Path, rows: Path, run: WithheldRun) -> None:
    """Withhold a run: move its rows from the folder `rows`, and replace an earlier withheld run."""
    discard(table)
    folder = table / OWN / _FOLDER
    folder.mkdir(parents=True)
    rows.replace(folder / f"run-{run.run_id}")
    values = {
        **vars(run),
        "replaced": [path.relative_to(table).as_posix() for path in run.replaced],
        "marks": feed_marks.dump(run.marks).decode(),
    }
    # Written last and in one step: without this file `read` finds nothing. So a run that is killed before is repeated.
    write_text(folder / _FILE, json.dumps(values))


def read(table: Path) -> WithheldRun | None:
    """Return the withheld run; None without one, or if it is incomplete."""
    file = table / OWN / _FOLDER / _FILE
    if not file.is_file():
        return None
    values = json.loads(file.read_text(encoding="utf-8"))
    values["replaced"] = [table / name for name in values["replaced"]]
    values["marks"] = feed_marks.load(values["marks"].encode())
    run = WithheldRun(**values)
    return run if _rows(table, run).is_dir() else None


def restore(table: Path, run: WithheldRun, rows: Path) -> None:
    """Move the withheld rows to the folder `rows`, ready to be committed.

    If the run is killed afterwards, the next run does the work again.
    """
    _rows(table, run).replace(rows)


def discard(table: Path) -> None:
    """Remove the withheld run, complete or not."""
    shutil.rmtree(table / OWN / _FOLDER, ignore_errors=True)


def _rows(table: Path, run: WithheldRun) -> Path:
    return table / OWN / _FOLDER / f"run-{run.run_id}"
