"""Read the request for a demo: an experiment page, and values that override it."""

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
class DemoRequest:
    """An experiment page, and the values that override it."""

    path: Path
    page: Experiment
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the experiment's name."""
        return self.page.name

    def key(self) -> str:
        """Return a digest of the page, its network file and the overrides. Demos with the same key train only once."""
        digest = hashlib.sha256(self.path.read_bytes() + json.dumps(self.overrides).encode())
        if self.page.network.function is not None:
            digest.update((self.path.parent / self.page.network.function[0]).read_bytes())
        return digest.hexdigest()


def find(name: str, overrides: Sequence[str]) -> DemoRequest:
    """Read and check the page `name` in dags/experiments with the overrides, before any service starts.

    Raises:
        UserError: the page does not exist, or has mistakes.
    """
    folder = REPOSITORY / "dags" / "experiments"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(page.stem for page in folder.glob("*.yaml")))
        raise UserError(f"EXPERIMENT must be a page in dags/experiments; got {name!r}; there are {known}")
    whole = tuple(map(_absolute_source, overrides))
    return DemoRequest(path, experiment.load(path, whole), whole)


def _absolute_source(override: str) -> str:
    """Return the override, with a folder in dataset.source made absolute, because jobs run in another folder."""
    key, _, value = override.partition("=")
    if key.strip() != "dataset.source" or value in BUILT_IN_SOURCES or not Path(value).exists():
        return override
    return f"dataset.source={Path(value).resolve()}"
