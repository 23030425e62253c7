"""Read the tables that record.py wrote."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

from windrow import experiment
from windrow.experiment import Experiment


@dataclass(frozen=True)
class Training:
    """A point trained under one schedule.

    Attributes:
        point: its number; 0 is the default configuration.
        seconds: processor time.
        curve: the objective after each epoch; shorter than `epochs` if the loss became infinite.
    """

    point: int
    epochs: int
    seconds: float
    curve: tuple[float, ...]

    @property
    def whole(self) -> bool:
        """Return whether it was trained to the end."""
        return len(self.curve) == self.epochs


@dataclass(frozen=True)
class Table:
    """A recorded table.

    Attributes:
        page: the page whose space it is.
        images: number of images to train and to validate on.
        full: the trainings with the page's schedule, by point.
        short: those with a short schedule, by its epochs and by point.
    """

    page: Experiment
    images: tuple[int, int]
    full: dict[int, Training]
    short: dict[int, dict[int, Training]]

    @property
    def epochs(self) -> int:
        """Epochs of the page's schedule."""
        return self.page.sweep.epochs

    @property
    def sign(self) -> int:
        """1 if more of the objective is better, else -1."""
        return 1 if self.page.sweep.direction == "maximize" else -1


def read(path: Path, objective: str | None = None) -> Table:
    """Read a table; `objective` (val_accuracy or val_loss) takes the place of the page's."""
    first, *lines = path.read_text().splitlines()
    header = json.loads(first)
    overrides = [f"sweep.objective={objective}"] if objective else []
    page = experiment.parse(json.dumps(header["page"]), overrides, str(path))
    rows: dict[int, dict[int, Training]] = {}
    for row in map(json.loads, lines):
        if page.sweep.objective not in row:
            continue  # of short schedules, only the accuracy is recorded
        curve = tuple(row[page.sweep.objective])
        training = Training(row["point"], row["epochs"], row["seconds"], curve)
        rows.setdefault(training.epochs, {})[training.point] = training
    full = rows.pop(page.sweep.epochs)
    return Table(page, (header["images"][0], header["images"][1]), full, dict(sorted(rows.items())))
