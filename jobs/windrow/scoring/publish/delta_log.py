"""What a table's log names: its own entries, and the data files, those that are there and those that were."""

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
"""Says where readers may begin: the one file of a table that changes."""

ENTRY = re.compile(rf"{FOLDER}/\d{{20}}(?P<kind>\.json|\.checkpoint.*\.parquet)")


@dataclass(frozen=True)
class DeltaLog:
    """What there is of a table, by names below its folder.

    Attributes:
        log: its log's commits and checkpoints by version; a checkpoint before the commit that is the last in it.
        adds: the data files that each commit added, also those that a vacuum has removed since.
        removes: those that commits took out, also where the log has forgotten who added them.
        data: the data files that are there.
    """

    folder: Path
    log: list[str]
    adds: Mapping[str, Set[str]]
    removes: Set[str]
    data: Set[str]

    @property
    def commits(self) -> list[str]:
        """The entries that are no checkpoints, oldest first."""
        return [name for name in self.log if not is_checkpoint(name)]

    @property
    def version(self) -> int:
        """The newest."""
        return version_of(self.log[-1])

    @property
    def named(self) -> set[str]:
        """The data files that are there, or were."""
        return set(self.data).union(self.removes, *self.adds.values())


def read(folder: Path) -> DeltaLog:
    """What there is of the table in a folder."""
    found = (path.relative_to(folder).as_posix() for path in (folder / FOLDER).iterdir())
    log = sorted(filter(ENTRY.fullmatch, found), key=lambda name: (version_of(name), not is_checkpoint(name)))
    commits = [name for name in log if not is_checkpoint(name)]
    adds = {name: _paths(folder / name, "add") for name in commits}
    removes = {path for name in commits for path in _paths(folder / name, "remove")}
    now = {path.relative_to(folder).as_posix() for path in PredictionTable(folder).files()}
    data = {name for name in now.union(*adds.values()) if (folder / name).is_file()}
    return DeltaLog(folder, log, adds, removes, data)


def is_checkpoint(name: str) -> bool:
    """Whether an entry is one, and not a commit."""
    found = ENTRY.fullmatch(name)
    return found is not None and found["kind"] != ".json"


def version_of(name: str) -> int:
    """An entry's."""
    return int(name.removeprefix(f"{FOLDER}/")[:20])


def _paths(commit: Path, kind: str) -> Set[str]:
    """Data files that a commit has actions of this kind for."""
    actions = (json.loads(line) for line in commit.read_text(encoding="utf-8").splitlines() if line)
    return {unquote(action[kind]["path"]) for action in actions if kind in action}
