"""Reading a ledger: it says what the sweep's own reader says, and leaves no trace."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from windrow.errors import AbsentError
from windrow.sweep.ledger import FILE
from windrow.sweep.outcomes import Ending
from windrow.sweep.study import Study
from windrow.ui import ledgers

from .conftest import end

Opened = Callable[..., AbstractContextManager[Study]]


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def test_it_says_of_every_ending_what_the_sweeps_own_reader_says(opened: Opened, tmp_path: Path) -> None:
    with opened(tmp_path, trials=len(Ending)) as study:
        for ending in sorted(Ending, key=lambda ending: ending is Ending.LOST):  # a lost trial is asked next
            asked = study.ask()
            assert asked
            end(study, asked, ending, loss=math.nan if ending is Ending.DIVERGED else 0.3)
        expected = {
            entry.number: (entry.point, entry.outcome and entry.outcome.ending, entry.outcome and entry.outcome.value)
            for entry in study.ledger.entries()
        }
        found = ledgers.read(tmp_path)
    assert {trial.number: (trial.point, trial.ending, trial.value) for trial in found} == expected
    assert {trial.ending for trial in found} == {*Ending} - {Ending.LOST} | {None}


def test_a_lost_trial_ends_only_with_its_last_attempt(opened: Opened, tmp_path: Path) -> None:
    with opened(tmp_path, trials=1) as study:
        seen = []
        while asked := study.ask():
            end(study, asked, Ending.LOST)
            seen.append(ledgers.read(tmp_path)[0].ending)
    assert seen == [None, None, Ending.LOST]


def test_a_running_sweep_is_seen_as_it_stands_and_not_held_up(opened: Opened, tmp_path: Path) -> None:
    with opened(tmp_path) as study:
        first, second = study.ask(), study.ask()
        assert first
        assert second
        end(study, first, value=0.75)
        one, other = ledgers.read(tmp_path)
        assert (one.value, one.training, other.ending, other.training) == (0.75, False, None, True)
        end(study, second, value=0.8)  # the reader holds nothing that the writer would have to wait for
        assert ledgers.read(tmp_path)[1].value == 0.8


def test_reading_a_study_at_rest_makes_no_file_and_changes_none(opened: Opened, tmp_path: Path) -> None:
    with opened(tmp_path) as study:
        asked = study.ask()
        assert asked
        end(study, asked)
    before = files(tmp_path)
    assert ledgers.read(tmp_path)[0].value == 0.9
    assert files(tmp_path) == before


def _train_and_die(opened: Opened, folder: Path) -> None:
    with opened(folder) as study:
        asked = study.ask()
        assert asked
        end(study, asked, value=0.6)
        study.ask()
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_driver_has_left_can_be_read(opened: Opened, tmp_path: Path) -> None:
    killed = multiprocessing.get_context("fork").Process(target=_train_and_die, args=(opened, tmp_path))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    before = {path.name: path.read_bytes() for path in tmp_path.glob("ledger.db*") if path.suffix != ".db-shm"}
    assert [(trial.value, trial.training) for trial in ledgers.read(tmp_path)] == [(0.6, False), (None, True)]
    after = {path.name: path.read_bytes() for path in tmp_path.glob("ledger.db*") if path.suffix != ".db-shm"}
    assert after == before, "what is not written into the ledger yet is the next sweep's to write"
    assert "ledger.db-wal" in before


def test_the_stamp_changes_with_every_outcome_and_not_by_looking(opened: Opened, tmp_path: Path) -> None:
    with opened(tmp_path) as study:
        asked = study.ask()
        assert asked
        before = ledgers.stamp(tmp_path)
        ledgers.read(tmp_path)
        assert ledgers.stamp(tmp_path) == before
        end(study, asked)
        assert ledgers.stamp(tmp_path) != before


def test_a_study_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AbsentError, match="gone from the disk"):
        ledgers.read(tmp_path)
    assert not files(tmp_path)


@pytest.mark.parametrize("statement", ["DROP TABLE attempts", "ALTER TABLE trials RENAME COLUMN point TO place"])
def test_a_ledger_of_another_version_is_one_sentence(opened: Opened, tmp_path: Path, statement: str) -> None:
    with opened(tmp_path):
        pass
    book = sqlite3.connect(tmp_path / FILE)
    book.execute(statement)
    book.close()
    with pytest.raises(AbsentError, match="of another version of Windrow"):
        ledgers.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to be one" * 40])
def test_a_file_that_is_no_ledger_is_one_sentence_without_its_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(AbsentError, match="can't be read") as caught:
        ledgers.read(tmp_path)
    assert str(tmp_path) not in str(caught.value)
