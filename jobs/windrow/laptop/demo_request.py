"""What a demo is asked for: a page, and values that differ from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from windrow import experiment
from windrow.errors import UserError
from windrow.experiment import BUILT_IN_SOURCES, Experiment
from windrow.paths import REPOSITORY


@dataclass(frozen=True)
class Wish:
    """What the demo is asked for."""

    path: Path
    page: Experiment
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """The experiment's."""
        return self.page.name

    def key(self) -> str:
        """The same page, network file and overrides have the same key: they need no second training."""
        digest = hashlib.sha256(self.path.read_bytes() + json.dumps(self.overrides).encode())
        if self.page.network.function is not None:
            digest.update((self.path.parent / self.page.network.function[0]).read_bytes())
        return digest.hexdigest()


def find(name: str, overrides: Sequence[str]) -> Wish:
    """The page with its overrides, checked before anything is started.

    Raises:
        UserError: no such page, or mistakes on it.
    """
    folder = REPOSITORY / "dags" / "experiments"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(page.stem for page in folder.glob("*.yaml")))
        raise UserError(f"EXPERIMENT must be a page in dags/experiments; got {name!r}; there are {known}")
    whole = tuple(map(_absolute_source, overrides))
    return Wish(path, experiment.load(path, whole), whole)


def _absolute_source(override: str) -> str:
    """A relative folder means one thing here and another in a job, which runs elsewhere."""
    key, _, value = override.partition("=")
    if key.strip() != "dataset.source" or value in BUILT_IN_SOURCES or not Path(value).exists():
        return override
    return f"dataset.source={Path(value).resolve()}"
