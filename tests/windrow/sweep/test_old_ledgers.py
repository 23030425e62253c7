"""A ledger of an earlier version is read as it was meant, and goes on.

old/ledger_2026_11.db was made by the code of November 2026 (Ledger.enter, lease, settle, note_run, note_told, spend):
six trials, of which 3 was lost once and then ok, 4 was lost once, and 5 was open when its driver died.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from windrow.sweep.ledger import FILE, Ledger
from windrow.sweep.outcomes import Ending, Outcome

OLD = Path(__file__).parent / "old" / "ledger_2026_11.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(OLD, tmp_path / FILE)
    return tmp_path


def test_every_trial_of_an_old_ledger_is_read_with_its_outcome(folder: Path) -> None:
    ledger = Ledger(folder, reading=True)
    entries = ledger.entries()
    endings = [entry.outcome and entry.outcome.ending for entry in entries]
    assert endings == [Ending.OK, Ending.PRUNED, Ending.DIVERGED, Ending.OK, None, None]
    assert [entry.attempts for entry in entries] == [1, 1, 1, 2, 1, 1]
    assert [entry.told for entry in entries] == [True, True, True, False, False, False]
    assert [entry.optuna_number for entry in entries] == [0, 1, 3, 4, 5, 6]
    assert (entries[0].run_id, entries[1].run_id) == ("a" * 32, "")
    assert entries[1].point == {"learning_rate": 0.05, "units": 16, "optimizer": "sgd", "momentum": 0.5}
    assert ledger.spent_seconds == 3.75


def test_the_outcomes_of_an_old_ledger_are_whole(folder: Path) -> None:
    ok, pruned, diverged, *_ = [entry.outcome for entry in Ledger(folder, reading=True).entries()]
    assert ok is not None
    assert pruned is not None
    assert diverged is not None
    assert (ok.value, ok.seconds, ok.import_seconds, ok.worker) == (0.7, 2.5, 1.5, "host/7")
    assert [epoch.val_accuracy for epoch in ok.epochs] == [0.45, 0.7]
    assert (pruned.fused, pruned.gain, pruned.peak_mebibytes) == (8, 1.31, 812.5)
    assert math.isnan(diverged.epochs[0].loss)
    assert diverged.error.startswith("the loss must stay finite")


def test_an_old_ledger_goes_on(folder: Path) -> None:
    ledger = Ledger(folder)
    assert [attempt.state for attempt in ledger.attempts() if attempt.trial == 5] == ["abandoned"]
    for number, attempt in ((4, 2), (5, 2)):
        lease = ledger.lease(number)
        assert lease.attempt == attempt
        assert ledger.settle(Outcome(number, attempt, Ending.OK, 0.9, lease=lease.token))
    ledger.enter({"units": 8}, optuna_number=7)
    again = Ledger(folder, reading=True)
    assert [entry.outcome and entry.outcome.value for entry in again.entries()] == [
        0.7,
        None,
        None,
        0.75,
        0.9,
        0.9,
        None,
    ]
