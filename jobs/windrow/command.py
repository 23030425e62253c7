"""The part of the command line that all jobs share: common arguments, the result file and the exit code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from windrow.errors import EXIT_FAILURE, NoChampionError, UserError, WindrowError
from windrow.files import check_writable, json_text, write_json


def bare_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for a job that needs no experiment page."""
    arguments = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--result", type=Path, metavar="FILE", help="where to write the result as JSON")
    return arguments


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments of every job that works on an experiment page."""
    arguments = bare_parser(description)
    arguments.add_argument("--experiment", required=True, metavar="PAGE", help="experiment page, a YAML file")
    arguments.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a value of the page, e.g. sweep.trials=8 (repeatable)",
    )
    return arguments


def positive(text: str) -> int:
    """Return a command-line value as an integer; it must be a whole number, 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on; got {text!r}; for example 1000")
    return int(text)


def day(text: str) -> date:
    """Return a command-line value as a date; it must be written as YYYY-MM-DD, as days are in names of folders."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.isoformat() != text:  # fromisoformat also takes 20261125 and 2026-W48-3
        raise argparse.ArgumentTypeError(f"must be a day as YYYY-MM-DD; got {text!r}; for example 2026-11-25")
    return found


def run(job: Callable[[argparse.Namespace], Mapping[str, Any]], arguments: argparse.Namespace) -> int:
    """Run a job and return the exit code: 0 for success, 2 if the user can fix the error, else 1.

    The job's result is printed as one line of JSON, and written to the file of --result if that is given. After an
    error, standard error ends with `error: ` and what went wrong.
    """
    try:
        _check_letters(arguments)
        if arguments.result is not None:
            check_writable(arguments.result)
        result = _result(job, arguments)
        if arguments.result is not None:
            write_json(arguments.result, result)
    except WindrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:  # the outermost boundary: print the traceback, then one sentence
        traceback.print_exc()
        print(f"error: {_sentence(error)}", file=sys.stderr)
        return EXIT_FAILURE
    print(json_text(result, encoding=sys.stdout.encoding or "ascii"))
    return 0


def _check_letters(arguments: argparse.Namespace) -> None:
    """Check that spark-submit has not replaced letters of the arguments, which Java does where the locale is C.

    Each letter outside ASCII becomes two question marks or more. A name that has so many itself is refused as well.

    Raises:
        UserError: it has; a job would write into a folder of another name.
    """
    locale = next(filter(None, (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))), "C")
    if "PYSPARK_GATEWAY_PORT" not in os.environ or locale.upper() not in ("C", "POSIX"):
        return
    given = [each for value in vars(arguments).values() for each in (value if isinstance(value, list) else [value])]
    if lost := [str(each) for each in given if isinstance(each, str | Path) and "??" in str(each)]:
        raise UserError(
            f"letters outside ASCII need a locale that has them; got {lost[0]!r} from spark-submit in the locale "
            f"{locale}; set LC_ALL=C.UTF-8"
        )


@contextmanager
def when_stopped(action: Callable[[], None]) -> Iterator[None]:
    """If SIGTERM arrives during the block, call `action`, then end the process at once.

    A task that is stopped in Airflow sends its job SIGTERM and gives it a few seconds; `action` can record the stop.
    Outside the main thread, which alone may set handlers, nothing is set up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: object) -> None:
        try:
            action()
        finally:
            os._exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _result(job: Callable[[argparse.Namespace], Mapping[str, Any]], arguments: argparse.Namespace) -> Mapping[str, Any]:
    """Return the job's result, or {"skipped": reason} for a run that is skipped for lack of a champion."""
    try:
        return job(arguments)
    except NoChampionError as error:
        if getattr(arguments, "without_champion", "fail") == "fail":
            raise
        print(f"skipped: {error}", file=sys.stderr)
        return {"skipped": str(error)}


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename or 'no file named'}"
    lines = str(error).strip().splitlines()
    if len(lines) > 1 and lines[0].startswith("An error occurred while calling "):  # Py4J; Java's own words come next
        return " ".join(line.removeprefix(": ") for line in lines[1 : 3 if lines[1].endswith(":") else 2])
    if lines and lines[0].startswith("An exception was thrown from the Python worker"):  # its traceback comes next
        last = next((line for line in reversed(lines) if line[:1].strip()), lines[0])
        return last.partition(": ")[2] if last.startswith("windrow.errors.") else last
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
