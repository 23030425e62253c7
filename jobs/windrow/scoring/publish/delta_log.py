"""Read a Delta table's log: its entries, and the data files that exist or have existed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from windrow.scoring.table.predictions_table import PredictionTable

FOLDER = "_delta_log"
HINT = f"{FOLDER}/_last_checkpoint"
"""The file that names the newest checkpoint, where readers may begin. No other file of a table ever changes."""

ENTRY = re.compile(rf"{FOLDER}/\d{{20}}(?P<kind>\.json|\.checkpoint.*\.parquet)")


@dataclass(frozen=True)
class DeltaLog:
    """The files of a table, by path relative to its folder.

    Attributes:
        folder: the table's folder.
        log: the log's commits and checkpoints by version; a checkpoint comes before the commit of its version.
        adds: the data files that each commit added, including those that a vacuum has removed since.
        removes: the data files that commits removed, even if the log no longer has the commit that added them.
        data: the data files that exist.
    """

    folder: Path
    log: list[str]
    adds: Mapping[str, Set[str]]
    removes: Set[str]
    data: Set[str]

    @property
    def commits(self) -> list[str]:
        """The entries that are commits, oldest first."""
        return [name for name in self.log if not is_checkpoint(name)]

    @property
    def version(self) -> int:
        """The newest version."""
        return version_of(self.log[-1])

    @property
    def named(self) -> set[str]:
        """The data files that exist or have existed."""
        return set(self.data).union(self.removes, *self.adds.values())


def read(folder: Path) -> DeltaLog:
    """Read the table in a folder."""
    found = (path.relative_to(folder).as_posix() for path in (folder / FOLDER).iterdir())
    log = sorted(filter(ENTRY.fullmatch, found), key=lambda name: (version_of(name), not is_checkpoint(name)))
    commits = [name for name in log if not is_checkpoint(name)]
    adds = {name: _paths(folder / name, "add") for name in commits}
    removes = {path for name in commits for path in _paths(folder / name, "remove")}
    now = {path.relative_to(folder).as_posix() for path in PredictionTable(folder).files()}
    data = {name for name in now.union(*adds.values()) if (folder / name).is_file()}
    return DeltaLog(folder, log, adds, removes, data)


def is_checkpoint(name: str) -> bool:
    """Return True for a checkpoint, False for a commit."""
    found = ENTRY.fullmatch(name)
    return found is not None and found["kind"] != ".json"


def version_of(name: str) -> int:
    """Return the version of an entry."""
    return int(name.removeprefix(f"{FOLDER}/")[:20])


def _paths(commit: Path, kind: str) -> Set[str]:
    """Return the data files for which a commit has actions of this kind."""
    actions = (json.loads(line) for line in commit.read_text(encoding="utf-8").splitlines() if line)
    return {unquote(action[kind]["path"]) for action in actions if kind in action}
