"""Read a study's ledger while its sweep may be writing to it; never create, lock or change it.

    trials = ledgers.read(folder)

The sweep's own reader (windrow/sweep/ledger.py) also reads the epochs of every trial. Here SQLite drops the epochs,
which are most of the bytes, so that 2,000 trials of 30 epochs take a tenth of the time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windrow.errors import AbsentError
from windrow.experiment.parameters import Value
from windrow.sweep.ledger import FILE
from windrow.sweep.outcomes import RULES, Ending

_BUSY_SECONDS = 2.0

# A diverged trial's epochs hold NaN, which SQLite does not accept as JSON: its outcome is returned whole.
_ATTEMPTS = """
SELECT trial, state, CASE
    WHEN outcome IS NULL THEN NULL
    WHEN json_valid(outcome) THEN json_extract(outcome, '$.ending', '$.value', '$.seconds')
    ELSE outcome END
FROM attempts ORDER BY trial, attempt"""


@dataclass(frozen=True)
class TrialSummary:
    """A trial in the ledger.

    Attributes:
        ending: how the trial ended; None until it has ended for good.
        value: the objective's value; None unless the ending is ok.
        seconds: wall-clock time of the attempt that counts; 0 until the trial has ended.
        attempts: number of attempts, abandoned ones included.
        training: whether an attempt is under way, or was when the sweep was killed.
    """

    number: int
    point: dict[str, Value]
    ending: Ending | None = None
    value: float | None = None
    seconds: float = 0.0
    attempts: int = 0
    training: bool = False


def exists(folder: Path) -> bool:
    """Return whether the folder has a study, that is, a ledger."""
    return (folder / FILE).is_file()


def stamp(folder: Path) -> str:
    """Return a text that changes with the ledger, made only from its files' times and sizes."""
    return "-".join(f"{found.st_mtime_ns:x}.{found.st_size:x}" for found in _facts(folder))


def changed_at(folder: Path) -> float:
    """Return the Unix time of the last change to the ledger; 0 without a ledger."""
    return max((found.st_mtime for found in _facts(folder)), default=0.0)


def read(folder: Path) -> list[TrialSummary]:
    """Return every trial in a study's ledger, by number.

    Raises:
        AbsentError: the study is gone, or its ledger can't be read.
    """
    if not exists(folder):
        raise AbsentError("This sweep's study is gone from the disk; its trials are still in MLflow.")
    try:
        with closing(_open(folder)) as book:
            points = book.execute("SELECT number, point FROM trials ORDER BY number").fetchall()
            attempts = book.execute(_ATTEMPTS).fetchall()
        return list(_trials(points, attempts))
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise AbsentError("The sweep's ledger is busy; this page tries again in a moment.") from error
        raise _unreadable() from error
    except (sqlite3.DatabaseError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _unreadable() from error


def _unreadable() -> AbsentError:
    return AbsentError("This sweep's ledger can't be read: it is damaged, or of another version of Windrow.")


def _open(folder: Path) -> sqlite3.Connection:
    file = folder / FILE
    # Without a writer the file has no write-ahead log, and SQLite would create one even to read.
    alone = "" if file.with_name(f"{FILE}-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro{alone}", uri=True, timeout=_BUSY_SECONDS)


def _facts(folder: Path) -> Iterator[Any]:
    for name in (FILE, f"{FILE}-wal"):
        try:
            yield (folder / name).stat()
        except FileNotFoundError:
            continue


def _trials(points: list[tuple[int, str]], attempts: list[tuple[int, str, str | None]]) -> Iterator[TrialSummary]:
    begun: dict[int, list[tuple[str, str | None]]] = {}
    for trial, state, outcome in attempts:
        begun.setdefault(trial, []).append((state, outcome))
    for number, point in points:
        yield _trial(number, json.loads(point), begun.get(number, []))


def _trial(number: int, point: dict[str, Value], attempts: list[tuple[str, str | None]]) -> TrialSummary:
    training = any(state == "open" for state, _ in attempts)
    settled = [outcome for state, outcome in attempts if state == "settled" and outcome is not None]
    if settled:
        ending, value, seconds = _outcome(settled[-1])
        if len(settled) >= RULES[ending].attempts:
            return TrialSummary(number, point, ending, value, seconds, len(attempts), training)
    return TrialSummary(number, point, attempts=len(attempts), training=training)


def _outcome(text: str) -> tuple[Ending, float | None, float]:
    values = json.loads(text)
    if isinstance(values, dict):
        values = [values["ending"], values.get("value"), values.get("seconds")]
    ending, value, seconds = values
    return Ending(ending), None if value is None else float(value), float(seconds or 0)
