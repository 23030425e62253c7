"""A run whose rows a drift gate withholds: they lie aside, whole, until a person accepts them or the work changes.

    TABLE/_windrow/withheld/run-RUN/         the rows; no reader and no vacuum looks there
    TABLE/_windrow/withheld/night.json       what its commit would have said; written last

Of the feed nothing counts as read. So the next run with the same work finds it here and judges it again, asks no host
a second time, and commits it if it is told to. One with other work (more URLs, another model, other settings, or a
commit in between) puts it away and does everything anew; so does one of the next night, for hosts may have mended what
was wrong. Nothing is lost, and nothing gets into the table twice.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.files import write_text
from windrow.scoring.feed import feed_marks
from windrow.scoring.feed.feed_marks import Seen
from windrow.scoring.table.lock import OWN

if TYPE_CHECKING:
    from windrow.experiment import ScoringSection

_FOLDER = "withheld"
_FILE = "night.json"
_FRESH_SECONDS = 12 * 3600.0  # longer than a scheduler tries again, shorter than from one night to the next


@dataclass(frozen=True)
class Night:
    """A run that is done but for its commit.

    Attributes:
        run_id: names the run, and its folder.
        work: the digest of all that decided what its rows are; see `digest`.
        figures: the run's.
        replaced: files of the table that its commit replaces.
        marks: what of the feed has been read then.
        at: Unix time, seconds.
    """

    run_id: str
    work: str
    figures: Mapping[str, Any]
    replaced: Sequence[Path]
    marks: Seen
    at: float

    @property
    def fresh(self) -> bool:
        """Whether it is too early to ask the same hosts again for nothing but another answer."""
        return time.time() - self.at < _FRESH_SECONDS


def digest(marks: Seen, version: int, model: str, asked: tuple[bool, int | None], settings: ScoringSection) -> str:
    """Identity of a run's work: two runs with the same one would ask the same URLs, and commit at the same place.

    Args:
        marks: what of the feed has been read after it.
        version: of the table.
        model: the network's digest.
        asked: whether earlier models' URLs are asked, and how many new ones at most.
        settings: the page's; where and when it runs, the gate itself and the copy do not count.
    """
    said = settings.model_dump_json(exclude={"drift_gate", "schedule", "feed", "model", "publish"})
    parts = [feed_marks.dump(marks).decode(), version, model, asked, said]
    return sha256(json.dumps(parts).encode()).hexdigest()


def keep(table: Path, rows: Path, night: Night) -> None:
    """Put a run's folder of rows aside, in place of one that was there. Killed half-way, it is as if it had not run."""
    discard(table)
    folder = table / OWN / _FOLDER
    folder.mkdir(parents=True)
    rows.replace(folder / f"run-{night.run_id}")
    values = {
        **vars(night),
        "replaced": [path.relative_to(table).as_posix() for path in night.replaced],
        "marks": feed_marks.dump(night.marks).decode(),
    }
    write_text(folder / _FILE, json.dumps(values))


def read(table: Path) -> Night | None:
    """What is withheld; None where nothing is, or not the whole of it."""
    file = table / OWN / _FOLDER / _FILE
    if not file.is_file():
        return None
    values = json.loads(file.read_text(encoding="utf-8"))
    values["replaced"] = [table / name for name in values["replaced"]]
    values["marks"] = feed_marks.load(values["marks"].encode())
    night = Night(**values)
    return night if _rows(table, night).is_dir() else None


def restore(table: Path, night: Night, rows: Path) -> None:
    """Bring the rows back to where a commit can find them. Killed after it, the work is done anew."""
    _rows(table, night).replace(rows)


def discard(table: Path) -> None:
    """Remove what is withheld, whatever of it there is."""
    shutil.rmtree(table / OWN / _FOLDER, ignore_errors=True)


def _rows(table: Path, night: Night) -> Path:
    return table / OWN / _FOLDER / f"run-{night.run_id}"
