"""Keep a study's ledger: every trial, every attempt at a trial, who may report the attempt, and how it ended.

    entry = ledger.enter(point, optuna_number)  # a new trial
    lease = ledger.lease(entry.number)          # a new attempt; an earlier open attempt no longer counts
    entry = ledger.settle(outcome)              # None unless the outcome's lease is open: an outcome counts once

One SQLite file with one writer, which the study's lock ensures; every call is a transaction. A study's other two
records, Optuna's journal and MLflow, are made to agree with the ledger.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from windrow.errors import ServiceError, StudyError
from windrow.experiment.parameters import Value
from windrow.sweep.outcomes import Ending, Outcome
from windrow.training.loop import Epoch

FILE = "ledger.db"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    number INTEGER PRIMARY KEY,
    point TEXT NOT NULL,
    asked_as INTEGER NOT NULL UNIQUE,
    run_id TEXT NOT NULL DEFAULT '',
    told INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS attempts (
    lease TEXT PRIMARY KEY,
    trial INTEGER NOT NULL REFERENCES trials(number),
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'settled', 'abandoned')),
    outcome TEXT,
    UNIQUE (trial, attempt)
);
CREATE TABLE IF NOT EXISTS spent (seconds REAL NOT NULL);
"""
_TABLES = {"trials", "attempts", "spent"}
_DAMAGE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)  # the last one: other columns
_UNREADABLE = (ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Lease:
    """The right to report on one attempt.

    Attributes:
        number: the trial's number.
        attempt: number of the attempt at this trial, from 1; abandoned attempts are counted, too.
        point: the trial's searched hyper-parameters.
        token: the id of the lease, which an outcome must carry to count.
    """

    number: int
    attempt: int
    point: dict[str, Value]
    token: str


@dataclass(frozen=True)
class Entry:
    """A trial in the ledger.

    Attributes:
        optuna_number: the trial's number in Optuna's journal.
        outcome: the outcome that counts; None while the trial has not ended for good.
        attempts: number of attempts so far, abandoned ones included.
        run_id: id of the trial's run in MLflow; empty until it is known.
        told: True once the outcome was reported to the sampler.
    """

    number: int
    point: dict[str, Value]
    optuna_number: int
    outcome: Outcome | None = None
    attempts: int = 0
    run_id: str = ""
    told: bool = False

    @property
    def ending(self) -> Ending | None:
        """The outcome's ending; None while the trial has not ended for good."""
        return None if self.outcome is None else self.outcome.ending

    @property
    def value(self) -> float | None:
        """The objective; None unless the trial ended ok."""
        return None if self.outcome is None else self.outcome.value

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the attempt that counts; 0 while the trial has not ended."""
        return 0.0 if self.outcome is None else self.outcome.seconds

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """Metrics of the attempt that counts, one per finished epoch; empty while the trial has not ended."""
        return () if self.outcome is None else self.outcome.epochs


@dataclass(frozen=True)
class Attempt:
    """An attempt in the ledger. `state` is open, settled or abandoned; `number` counts a trial's attempts from 1."""

    trial: int
    number: int
    lease: str
    state: str
    outcome: Outcome | None


class Ledger:
    """The ledger in `folder`. Its trials are also kept in memory, so that only opening reads them from the file.

    A reader sees the trials as they were when it opened the ledger. A writer abandons the attempts that a killed driver
    left open; abandoned attempts do not count against their trials.

    Raises:
        ServiceError: from opening and from every call that uses the file, if it is locked or can't be written.
        StudyError: likewise, if it is damaged, or not a ledger.
    """

    def __init__(self, folder: Path, reading: bool = False) -> None:
        self._folder = folder
        with self._named_errors():
            self._book = sqlite3.connect(folder / FILE, isolation_level=None)
            tables = self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")
            if foreign := {name for (name,) in tables} - _TABLES:
                raise self._not_whole(f"has the table {min(foreign)}")
            # In WAL mode, readers (the Windrow page, doctor) don't block the sweep that writes. NORMAL: a commit
            # survives the end of the process without waiting for the disk; a power cut may lose the last commits.
            self._book.execute("PRAGMA journal_mode = WAL")
            self._book.execute("PRAGMA synchronous = NORMAL")
            self._book.executescript(_SCHEMA)
        # This process has the study's lock, so the driver that gave out these leases is gone; late outcomes must not
        # count.
        if not reading:
            self._change("UPDATE attempts SET state = 'abandoned' WHERE state = 'open'")
        # Read only after the update above.
        with self._named_errors(*_UNREADABLE):
            self._entries = {entry.number: entry for entry in self._read()}

    def close(self) -> None:
        """Close the file; the trials stay available in memory."""
        self._book.close()

    def enter(self, point: dict[str, Value], optuna_number: int) -> Entry:
        """Record a new trial under the next number, and return it; trials are numbered from 0 without gaps."""
        entry = Entry(len(self), point, optuna_number)
        self._change(
            "INSERT INTO trials (number, point, asked_as) VALUES (?, ?, ?)",
            *(entry.number, json.dumps(point), optuna_number),
        )
        return self._remember(entry)

    def lease(self, number: int) -> Lease:
        """Begin an attempt and return its lease; an open lease of the same trial no longer counts."""
        entry = self._entries[number]
        lease = Lease(number, entry.attempts + 1, entry.point, secrets.token_hex(8))
        # One transaction: a driver that dies between the two statements must not leave a trial whose lease was revoked
        # without a new one.
        with self._transaction():
            self._book.execute("UPDATE attempts SET state = 'abandoned' WHERE trial = ? AND state = 'open'", (number,))
            self._book.execute(
                "INSERT INTO attempts VALUES (?, ?, ?, 'open', NULL)", (lease.token, number, lease.attempt)
            )
        self._remember(replace(entry, attempts=lease.attempt))
        return lease

    def settle(self, outcome: Outcome) -> Entry | None:
        """Record an outcome and return its trial; if the outcome's lease is not open, change nothing and return None.

        The returned trial has no outcome yet if this attempt was lost and the trial has attempts left.
        """
        # The condition is part of the statement: if both a worker and the driver report an outcome under one lease,
        # the first one counts.
        counts = self._change(
            "UPDATE attempts SET state = 'settled', outcome = ? WHERE lease = ? AND state = 'open'",
            *(json.dumps(outcome.record()), outcome.lease),
        )
        if not counts:
            return None
        number = outcome.number
        settled = self._number("SELECT count(*) FROM attempts WHERE trial = ? AND state = 'settled'", number)
        final = replace(outcome, network=None) if outcome.ends_trial(settled) else None
        return self._remember(replace(self._entries[number], outcome=final))

    def abandon(self, lease: str) -> None:
        """Withdraw an open lease under which no worker has begun; the attempt does not count against the trial."""
        self._change("UPDATE attempts SET state = 'abandoned' WHERE lease = ? AND state = 'open'", lease)

    def is_open(self, lease: str) -> bool:
        """Return whether an outcome under this lease would count."""
        return bool(self._number("SELECT count(*) FROM attempts WHERE lease = ? AND state = 'open'", lease))

    def note_run(self, number: int, run_id: str) -> Entry:
        """Record the id of the trial's run in MLflow, and return the trial."""
        self._change("UPDATE trials SET run_id = ? WHERE number = ?", run_id, number)
        return self._remember(replace(self._entries[number], run_id=run_id))

    def note_told(self, number: int) -> Entry:
        """Mark the trial as reported to the sampler, and return it."""
        self._change("UPDATE trials SET told = 1 WHERE number = ?", number)
        return self._remember(replace(self._entries[number], told=True))

    def spend(self, seconds: float) -> None:
        """Add to the wall-clock seconds that the study's sweeps have used."""
        self._change("INSERT INTO spent VALUES (?)", seconds)

    @property
    def spent_seconds(self) -> float:
        """Wall-clock seconds that all sweeps of the study have used."""
        return float(self._rows("SELECT coalesce(sum(seconds), 0) FROM spent")[0][0])

    def entry(self, number: int) -> Entry:
        """Return one trial."""
        return self._entries[number]

    def entries(self) -> list[Entry]:
        """Return every trial, in order of number."""
        return list(self._entries.values())

    def attempts(self) -> list[Attempt]:
        """Read every attempt at every trial from the file; return them in order of trial and attempt number."""
        query = "SELECT trial, attempt, lease, state, outcome FROM attempts ORDER BY trial, attempt"
        with self._named_errors(*_UNREADABLE):
            return [
                Attempt(trial, number, lease, state, Outcome.of(json.loads(record)) if record else None)
                for trial, number, lease, state, record in self._book.execute(query)
            ]

    def __len__(self) -> int:
        return len(self._entries)

    def _remember(self, entry: Entry) -> Entry:
        # Called only after a write has succeeded: memory must not be ahead of the file when the disk is full.
        self._entries[entry.number] = entry
        return entry

    def _read(self) -> Iterator[Entry]:
        query = """
            SELECT t.number, t.point, t.asked_as, t.run_id, t.told,
                (SELECT count(*) FROM attempts a WHERE a.trial = t.number),
                (SELECT count(*) FROM attempts a WHERE a.trial = t.number AND a.state = 'settled'),
                (SELECT a.outcome FROM attempts a WHERE a.trial = t.number AND a.state = 'settled'
                    ORDER BY a.attempt DESC LIMIT 1)
            FROM trials t ORDER BY t.number"""
        for number, point, optuna_number, run_id, told, attempts, settled, record in self._book.execute(query):
            outcome = Outcome.of(json.loads(record)) if record else None
            if outcome is not None and not outcome.ends_trial(settled):
                outcome = None
            yield Entry(number, json.loads(point), optuna_number, outcome, attempts, run_id, bool(told))

    def _number(self, query: str, *values: str | int) -> int:
        return int(self._rows(query, *values)[0][0])

    def _rows(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        with self._named_errors():
            return self._book.execute(query, values).fetchall()

    def _change(self, statement: str, *values: str | float) -> int:
        with self._named_errors():
            return self._book.execute(statement, values).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._named_errors(), self._book:  # which commits, or rolls back
            self._book.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def _named_errors(self, *of_a_record: type[Exception]) -> Iterator[None]:
        try:
            yield
        except of_a_record as error:
            raise self._not_whole(f"has a record that can't be read ({type(error).__name__}: {error})") from error
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without the extended part
            if code in _DAMAGE:
                raise self._not_whole(f"gave: {error}") from error
            rule, cure = "writable", "make room or repair the disk, then"
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                rule, cure = "free", "end the process that has locked it, or wait, then"
            raise ServiceError(
                f"a study's ledger must be {rule}; {self._folder / FILE} gave: {error}; {cure} run the sweep again: it "
                "goes on where it stopped"
            ) from error

    def _not_whole(self, found: str) -> StudyError:
        rule = f"a study's ledger must be whole; {self._folder / FILE} {found}"
        return StudyError(f"{rule}; restore it, or name another --study")
