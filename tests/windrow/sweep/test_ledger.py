from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from windrow.errors import ServiceError, StudyError
from windrow.sweep.ledger import FILE, Lease, Ledger
from windrow.sweep.outcomes import Ending, Outcome
from windrow.training.loop import Epoch


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    book = Ledger(tmp_path)
    book.enter({"units": 8}, optuna_number=0)
    return book


def ended(lease: Lease, ending: Ending = Ending.OK, value: float | None = 0.5) -> Outcome:
    return Outcome(lease.number, lease.attempt, ending, value, (Epoch(1.0, 0.5, 1.0, 0.5, 0.1),), lease=lease.token)


def test_an_outcome_counts_once(ledger: Ledger) -> None:
    lease = ledger.lease(0)
    assert ledger.settle(ended(lease))
    assert not ledger.settle(ended(lease, value=0.9))
    outcome = ledger.entry(0).outcome
    assert outcome is not None
    assert outcome.value == 0.5


def test_an_outcome_of_an_earlier_attempt_does_not_count(ledger: Ledger) -> None:
    early, late = ledger.lease(0), ledger.lease(0)
    assert (early.attempt, late.attempt) == (1, 2)
    assert not ledger.settle(ended(early))
    assert ledger.entry(0).outcome is None
    assert ledger.settle(ended(late))


def test_a_made_up_lease_does_not_count(ledger: Ledger) -> None:
    assert not ledger.settle(replace(ended(ledger.lease(0)), lease="mine"))


def test_a_lost_trial_has_three_attempts_and_any_other_ending_one(ledger: Ledger) -> None:
    for _ in range(3):
        assert ledger.entry(0).outcome is None
        ledger.settle(ended(ledger.lease(0), Ending.LOST, None))
    outcome = ledger.entry(0).outcome
    assert outcome is not None
    assert outcome.ending is Ending.LOST


def test_what_a_killed_driver_had_open_is_abandoned_and_costs_no_attempt(tmp_path: Path, ledger: Ledger) -> None:
    for _ in range(10):
        lease = ledger.lease(0)
        ledger = Ledger(tmp_path)  # the next driver
        assert not ledger.settle(ended(lease))
    ledger.settle(ended(ledger.lease(0), Ending.LOST, None))
    assert ledger.entry(0).outcome is None
    assert ledger.entry(0).attempts == 11


def test_reading_changes_nothing(tmp_path: Path, ledger: Ledger) -> None:
    lease = ledger.lease(0)
    assert Ledger(tmp_path, reading=True).entry(0).outcome is None
    assert ledger.settle(ended(lease))


def test_a_lease_that_never_began_can_be_given_back(ledger: Ledger) -> None:
    lease = ledger.lease(0)
    assert ledger.is_open(lease.token)
    ledger.abandon(lease.token)
    assert not ledger.is_open(lease.token)


def test_everything_is_there_after_a_kill(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom windrow.sweep.ledger import Ledger\n"
        "from windrow.sweep.outcomes import Ending, Outcome\n"
        "book = Ledger(Path(sys.argv[1]))\nbook.enter({'units': 8}, 0)\nlease = book.lease(0)\n"
        "book.settle(Outcome(0, 1, Ending.OK, 0.7, lease=lease.token))\nbook.spend(3.5)\nbook.note_run(0, 'r')\n"
        "book.note_told(0)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=False, timeout=60)
    book = Ledger(tmp_path)
    entry = book.entry(0)
    assert entry.outcome is not None
    assert (entry.outcome.value, entry.run_id, entry.told, book.spent_seconds) == (0.7, "r", True, 3.5)


def test_an_outcome_comes_back_as_it_was(ledger: Ledger) -> None:
    epochs = (Epoch(1.0, 0.5, float("nan"), 0.5, 0.1), Epoch(0.5, 0.6, 0.7, 0.8, 0.2))
    outcome = replace(ended(ledger.lease(0), Ending.DIVERGED, None), epochs=epochs, error="ü\n'", peak_mebibytes=512.5)
    ledger.settle(outcome)
    assert repr(ledger.entry(0).outcome) == repr(outcome)


def test_a_disk_that_fills_is_one_sentence_and_what_was_written_stays(tmp_path: Path) -> None:
    """The size limit of a process stands in for the disk's: SQLite gets the same refusal."""
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom windrow.errors import ServiceError\n"
        "from windrow.sweep.ledger import Ledger\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))\nbook = Ledger(Path(sys.argv[1]))\n"
        "try:\n    for number in range(100_000): book.enter({'units': number}, number)\n"
        "except ServiceError as error: print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert "ledger must be writable" in told.stdout, told.stderr
    assert "it goes on where it stopped" in told.stdout
    book = Ledger(tmp_path)
    assert len(book) > 0
    assert [entry.point["units"] for entry in book.entries()] == list(range(len(book)))
    book.enter({"units": -1}, optuna_number=-1)


LOCKED = r"ledger must be free; .* gave: database is locked; end the process that has locked it, or wait, then run the"


def no_database(file: Path) -> None:
    file.write_text("not a database, but long enough to be looked at" * 100)


def another_programs(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")


def other_columns(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE trials (number INTEGER PRIMARY KEY, name TEXT)")


def broken_record(file: Path) -> None:
    Ledger(file.parent).close()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("INSERT INTO trials (number, point, asked_as) VALUES (0, '{\"units\": ', 0)")


def broken_pages(file: Path) -> None:
    book = Ledger(file.parent)
    for number in range(200):
        book.enter({"units": number}, optuna_number=number)
    book.close()
    content = bytearray(file.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    file.write_bytes(content)


@pytest.mark.parametrize("reading", [True, False])
@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (no_database, "gave: file is not a database"),
        (another_programs, "has the table bookmarks"),
        (other_columns, "gave: no such column"),
        (broken_record, r"has a record that can't be read \(JSONDecodeError"),
        (broken_pages, "gave: database disk image is malformed"),
    ],
)
def test_a_file_that_is_no_whole_ledger_is_refused_in_a_sentence(
    tmp_path: Path, reading: bool, damage: Callable[[Path], None], found: str
) -> None:
    damage(tmp_path / FILE)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StudyError, match=rf"ledger must be whole; .*{FILE} {found}.*; restore it, or name another"):
        Ledger(tmp_path, reading)
    if damage is another_programs:
        assert (tmp_path / FILE).read_bytes() == before


def test_a_ledger_that_another_process_has_locked_is_a_sentence_for_readers_and_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: real(*given, **named, timeout=0.05))
    ledger = Ledger(tmp_path)
    ledger.enter({"units": 8}, optuna_number=0)
    with closing(real(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ServiceError, match=LOCKED):
            ledger.lease(0)
    assert ledger.lease(0).attempt == 1
    ledger.close()
    with closing(real(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")  # as a program for databases may open it
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ServiceError, match=LOCKED):
            Ledger(tmp_path, reading=True)
