"""A run whose rows a drift gate withholds: they are put aside, whole, until a person accepts them or the work changes.

    TABLE/_windrow/withheld/run-RUN/         the rows; no reader and no vacuum looks there
    TABLE/_windrow/withheld/night.json       what its commit would have recorded; written last

Nothing of the feed counts as read. So the next run with the same work finds the rows here and judges them again,
downloads nothing a second time, and commits them if told to. A run with other work (more URLs, another model, other
settings, or a commit in between) discards them and does everything again; so does a run on the next day, for hosts may
have corrected what was wrong. Nothing is lost, and nothing gets into the table twice.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

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
    """A run that is done except for its commit.

    Attributes:
        run_id: names the run, and its folder.
        work: digest of everything that decided its rows; see `digest`.
        figures: the run's, as JSON values.
        replaced: files of the table that its commit replaces.
        marks: what of the feed has been read then.
        at: Unix time, seconds.
    """

    run_id: str
    work: str
    figures: Mapping[str, object]
    replaced: Sequence[Path]
    marks: Seen
    at: float

    @property
    def fresh(self) -> bool:
        """Whether it is too early to download from the same hosts again."""
        return time.time() - self.at < _FRESH_SECONDS


def digest(marks: Seen, version: int, model: str, options: tuple[bool, int | None], settings: ScoringSection) -> str:
    """Return the identity of a run's work: two runs with the same one would score the same URLs on the same version.

    Args:
        marks: what of the feed has been read after it.
        version: of the table.
        model: the network's digest.
        options: whether earlier models' URLs are scored, and the limit of new ones.
        settings: the page's; where and when it runs, the gate itself and the copy do not count.
    """
    text = settings.model_dump_json(exclude={"drift_gate", "schedule", "feed", "model", "publish"})
    parts = [feed_marks.dump(marks).decode(), version, model, options, text]
    return sha256(json.dumps(parts).encode()).hexdigest()


def keep(table: Path, rows: Path, run: WithheldRun) -> None:
    """Put a run's folder of rows aside, in place of an earlier one. Killed half-way, it is as if it had not run."""
    discard(table)
    folder = table / OWN / _FOLDER
    folder.mkdir(parents=True)
    rows.replace(folder / f"run-{run.run_id}")
    values = {
        **vars(run),
        "replaced": [path.relative_to(table).as_posix() for path in run.replaced],
        "marks": feed_marks.dump(run.marks).decode(),
    }
    aside = folder / f".{_FILE}.{os.getpid()}"
    aside.write_text(json.dumps(values), encoding="utf-8")
    aside.replace(folder / _FILE)


def read(table: Path) -> WithheldRun | None:
    """Return the run that is withheld; None if there is no whole one."""
    file = table / OWN / _FOLDER / _FILE
    if not file.is_file():
        return None
    values = json.loads(file.read_text(encoding="utf-8"))
    values["replaced"] = [table / name for name in values["replaced"]]
    values["marks"] = feed_marks.load(values["marks"].encode())
    run = WithheldRun(**values)
    return run if _rows(table, run).is_dir() else None


def restore(table: Path, run: WithheldRun, rows: Path) -> None:
    """Move the rows back to where a commit can find them. If killed afterwards, the work is done again."""
    _rows(table, run).replace(rows)


def discard(table: Path) -> None:
    """Remove what is withheld, also an incomplete run."""
    shutil.rmtree(table / OWN / _FOLDER, ignore_errors=True)


def _rows(table: Path, run: WithheldRun) -> Path:
    return table / OWN / _FOLDER / f"run-{run.run_id}"
