"""A study's ledger while its sweep may be writing to it: looked at, never made, locked or changed.

    trials = ledgers.read(folder)

The sweep's own reader (windrow/sweep/ledger.py) opens the book as its writer does. This one also leaves out the epochs
in SQLite, which are most of the bytes: 2,000 trials of 30 epochs take a tenth of the time so.
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

# A diverged trial's epochs hold NaN, which is no JSON to SQLite: such an outcome comes whole.
_ATTEMPTS = """
SELECT trial, state, CASE
    WHEN outcome IS NULL THEN NULL
    WHEN json_valid(outcome) THEN json_extract(outcome, '$.ending', '$.value', '$.seconds')
    ELSE outcome END
FROM attempts ORDER BY trial, attempt"""


@dataclass(frozen=True)
class TrialSummary:
    """A trial as the ledger has it.

    Attributes:
        ending: how it ended; None while it has not ended for good.
        value: the objective; None unless the ending is ok.
        seconds: wall clock of the attempt that counts.
        attempts: that were begun.
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
    """Whether there is a study in a folder."""
    return (folder / FILE).is_file()


def stamp(folder: Path) -> str:
    """Another text after every change to the ledger; two calls of the system, whatever its size."""
    return "-".join(f"{found.st_mtime_ns:x}.{found.st_size:x}" for found in _facts(folder))


def changed_at(folder: Path) -> float:
    """Unix time of the last change to the ledger; 0 without one."""
    return max((found.st_mtime for found in _facts(folder)), default=0.0)


def read(folder: Path) -> list[TrialSummary]:
    """Every trial of a study, by number.

    Raises:
        AbsentError: there is no study, or no ledger that can be read.
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
            raise AbsentError("The sweep's ledger is busy; this page asks again in a moment.") from error
        raise _unreadable() from error
    except (sqlite3.DatabaseError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _unreadable() from error


def _unreadable() -> AbsentError:
    return AbsentError("This sweep's ledger can't be read: it is damaged, or of another version of Windrow.")


def _open(folder: Path) -> sqlite3.Connection:
    file = folder / FILE
    # Where nobody writes there is no log beside the file, and SQLite would make one to read it.
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
    for trial, state, said in attempts:
        begun.setdefault(trial, []).append((state, said))
    for number, point in points:
        yield _trial(number, json.loads(point), begun.get(number, []))


def _trial(number: int, point: dict[str, Value], attempts: list[tuple[str, str | None]]) -> TrialSummary:
    training = any(state == "open" for state, _ in attempts)
    settled = [said for state, said in attempts if state == "settled" and said is not None]
    if settled:
        ending, value, seconds = _outcome(settled[-1])
        if len(settled) >= RULES[ending].attempts:
            return TrialSummary(number, point, ending, value, seconds, len(attempts), training)
    return TrialSummary(number, point, attempts=len(attempts), training=training)


def _outcome(said: str) -> tuple[Ending, float | None, float]:
    values = json.loads(said)
    if isinstance(values, dict):
        values = [values["ending"], values.get("value"), values.get("seconds")]
    ending, value, seconds = values
    return Ending(ending), None if value is None else float(value), float(seconds or 0)
