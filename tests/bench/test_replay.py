"""What bench/replay.py computes from a recorded table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three points of 4 epochs, the default configuration and two others, and two schedules of 2."""
    page = {
        "name": "a",
        "space": {"learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1}},
        "sweep": {"epochs": 4},
    }
    curves = {0: [0.5, 0.6, 0.7, 0.7], 1: [0.1, 0.2, 0.8, 0.9], 2: [0.4, 0.4], 3: [0.3, 0.4, 0.5, 0.6]}
    rows = [{"point": n, "epochs": 4, "seconds": 4.0, "val_accuracy": curve} for n, curve in curves.items()]
    rows += [{"point": n, "epochs": 2, "seconds": 2.0, "val_accuracy": [0.3, 0.1 * n]} for n in (0, 1, 2, 3)]
    path = tmp_path / "table_a.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in ({"page": page, "images": [9, 5]}, *rows)))
    return path


def test_without_a_pruner_every_epoch_is_trained_and_the_best_is_found(script: Script, table: Path) -> None:
    replay = script("replay")
    recorded = script("tables").read(table)
    found = replay.replay(recorded, replay.ways()[0], [0, 1, 2, 3])
    assert (found.epochs, found.best) == (4 + 4 + 3 + 4, 0.9), "point 2 diverged in its third epoch"
    assert replay.regret(recorded, found.best, [0, 1, 2, 3]) == 0


def test_halving_from_the_first_epoch_loses_what_starts_slowly(script: Script, table: Path) -> None:
    replay = script("replay")
    recorded = script("tables").read(table)
    (way,) = [one for one in replay.ways() if one.name == "halving by 4 from epoch 1"]
    found = replay.replay(recorded, way, [0, 1, 2, 3])
    assert (found.epochs, found.best) == (4 + 1 + 1 + 1, 0.7)
    assert replay.regret(recorded, found.best, [0, 1, 2, 3]) == pytest.approx(20.0), "hundredths"


def test_short_schedules_send_the_best_third_on(script: Script, table: Path) -> None:
    replay = script("replay")
    recorded = script("tables").read(table)
    assert replay.short_stages(recorded) == [(2,)]
    found = replay.by_schedules(recorded, (2,), [0, 1, 3])
    assert (found.epochs, found.best) == (3 * 2 + 4, 0.6), "point 3 is the best under the short schedule"


def test_a_curve_that_rises_is_extrapolated_upwards(script: Script) -> None:
    extrapolated = script("replay").extrapolated
    errors = [0.5 / age for age in range(1, 9)]  # a power law
    assert extrapolated([1 - error for error in errors], 16) == pytest.approx(1 - 0.5 / 16)
    assert extrapolated([0.5, 0.6], 16) == 0.6
