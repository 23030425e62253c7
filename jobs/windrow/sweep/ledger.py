"""The ledger of a study: every trial, every attempt at it, who may report it, and how it ended.

    ledger.enter(point)                 # a new trial
    lease = ledger.lease(number)        # an attempt; the one before it, if any, counts no longer
    ledger.settle(outcome)              # True if the outcome's lease is the trial's, and open: then it counts, once

One SQLite file, one writer (the study's lock sees to that), every call a transaction. It is the book that the other
two, Optuna's journal and MLflow, are brought in line with.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windrow.errors import ServiceError
from windrow.experiment.parameters import Value
from windrow.sweep.outcomes import RULES, Outcome

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


@dataclass(frozen=True)
class Lease:
    """The right to report one attempt at a trial. `attempt` counts from 1; abandoned ones count too."""

    trial: int
    attempt: int
    token: str


@dataclass(frozen=True)
class Entry:
    """A trial as the ledger knows it.

    Attributes:
        asked_as: the number of Optuna's trial that the point came from.
        outcome: how its last counted attempt ended; None while it has not ended for good.
        attempts: attempts that were begun.
        run_id: the trial's run in MLflow; empty until it is known.
        told: whether the sampler has been told.
    """

    number: int
    point: dict[str, Value]
    asked_as: int
    outcome: Outcome | None
    attempts: int
    run_id: str
    told: bool


@dataclass(frozen=True)
class Attempt:
    """An attempt at a trial as the ledger has it. `state` is open, settled or abandoned; `number` counts from 1."""

    trial: int
    number: int
    lease: str
    state: str
    outcome: Outcome | None


class Ledger:
    """The book in `folder`. What a killed driver had open is abandoned on opening, and costs the trial no attempt.

    Raises:
        ServiceError: from every call, if the disk is full or can't be written.
    """

    def __init__(self, folder: Path, reading: bool = False) -> None:
        self._folder = folder
        with self._transaction_errors():
            self._book = sqlite3.connect(folder / FILE, isolation_level=None)
            # A commit then outlives the process without waiting for the disk; a power cut may cost the last ones.
            self._book.execute("PRAGMA journal_mode = WAL")
            self._book.execute("PRAGMA synchronous = NORMAL")
            self._book.executescript(_SCHEMA)
        if not reading:
            self._change("UPDATE attempts SET state = 'abandoned' WHERE state = 'open'")

    def close(self) -> None:
        """Let go of the file."""
        self._book.close()

    def enter(self, point: dict[str, Value], asked_as: int) -> int:
        """Write down a new trial; its number, from 0 without gaps."""
        number = len(self)
        self._change(
            "INSERT INTO trials (number, point, asked_as) VALUES (?, ?, ?)", number, json.dumps(point), asked_as
        )
        return number

    def lease(self, number: int) -> Lease:
        """Begin an attempt. An open lease of the same trial counts no longer."""
        attempt = 1 + self._number("SELECT count(*) FROM attempts WHERE trial = ?", number)
        lease = Lease(number, attempt, secrets.token_hex(8))
        with self._transaction():
            self._book.execute("UPDATE attempts SET state = 'abandoned' WHERE trial = ? AND state = 'open'", (number,))
            self._book.execute(
                "INSERT INTO attempts VALUES (?, ?, ?, 'open', NULL)", (lease.token, number, lease.attempt)
            )
        return lease

    def settle(self, outcome: Outcome) -> bool:
        """Count an outcome, if its lease is open. The second of two outcomes of one lease changes nothing."""
        return bool(
            self._change(
                "UPDATE attempts SET state = 'settled', outcome = ? WHERE lease = ? AND state = 'open'",
                json.dumps(outcome.record()),
                outcome.lease,
            )
        )

    def abandon(self, lease: str) -> None:
        """Take back a lease that was never begun: it costs the trial no attempt."""
        self._change("UPDATE attempts SET state = 'abandoned' WHERE lease = ? AND state = 'open'", lease)

    def is_open(self, lease: str) -> bool:
        """Whether an outcome of this lease would count."""
        return bool(self._number("SELECT count(*) FROM attempts WHERE lease = ? AND state = 'open'", lease))

    def note_run(self, number: int, run_id: str) -> None:
        """Keep the trial's run in MLflow."""
        self._change("UPDATE trials SET run_id = ? WHERE number = ?", run_id, number)

    def note_told(self, number: int) -> None:
        """Keep that the sampler knows how the trial ended."""
        self._change("UPDATE trials SET told = 1 WHERE number = ?", number)

    def spend(self, seconds: float) -> None:
        """Add wall clock to what the study's sweeps took so far."""
        self._change("INSERT INTO spent VALUES (?)", seconds)

    @property
    def spent_seconds(self) -> float:
        """Wall clock of all the study's sweeps."""
        return float(self._book.execute("SELECT coalesce(sum(seconds), 0) FROM spent").fetchone()[0])

    def entry(self, number: int) -> Entry:
        """One trial."""
        (found,) = self._entries("WHERE t.number = ?", number)
        return found

    def entries(self) -> list[Entry]:
        """Every trial, by number."""
        return list(self._entries(""))

    def attempts(self) -> list[Attempt]:
        """Every attempt at every trial, in order."""
        query = "SELECT trial, attempt, lease, state, outcome FROM attempts ORDER BY trial, attempt"
        return [
            Attempt(trial, number, lease, state, Outcome.of(json.loads(record)) if record else None)
            for trial, number, lease, state, record in self._book.execute(query)
        ]

    def __len__(self) -> int:
        return self._number("SELECT count(*) FROM trials")

    def _entries(self, where: str, *values: Any) -> Iterator[Entry]:
        query = f"""
            SELECT t.number, t.point, t.asked_as, t.run_id, t.told,
                (SELECT count(*) FROM attempts a WHERE a.trial = t.number),
                (SELECT count(*) FROM attempts a WHERE a.trial = t.number AND a.state = 'settled'),
                (SELECT a.outcome FROM attempts a WHERE a.trial = t.number AND a.state = 'settled'
                    ORDER BY a.attempt DESC LIMIT 1)
            FROM trials t {where} ORDER BY t.number"""  # noqa: S608  `where` is one of two texts above
        for number, point, asked_as, run_id, told, attempts, settled, record in self._book.execute(query, values):
            outcome = Outcome.of(json.loads(record)) if record else None
            if outcome is not None and settled < RULES[outcome.ending].attempts:
                outcome = None
            yield Entry(number, json.loads(point), asked_as, outcome, attempts, run_id, bool(told))

    def _number(self, query: str, *values: Any) -> int:
        return int(self._book.execute(query, values).fetchone()[0])

    def _change(self, statement: str, *values: Any) -> int:
        with self._transaction_errors():
            return self._book.execute(statement, values).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._transaction_errors():
            self._book.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._book.execute("COMMIT")
            except BaseException:
                if self._book.in_transaction:  # SQLite has rolled back by itself where the disk was full
                    self._book.execute("ROLLBACK")
                raise

    @contextmanager
    def _transaction_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            raise ServiceError(
                f"a study's ledger must be writable; {self._folder / FILE} gave: {error}; make room or mend the disk, "
                "then run the sweep again: it goes on where it stopped"
            ) from error
