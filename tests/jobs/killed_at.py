"""End score_images.py at one of its steps: in this process, or by SIGKILL in a spark-submit of its own.

    spark-submit killed_at.py MOMENT NAME ARGS...        MOMENT is before or after, NAME a function's dotted name

The job is the real one: the function is only wrapped.
"""

from __future__ import annotations

import importlib
import os
import runpy
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

JOB = Path(__file__).resolve().parents[2] / "jobs" / "score_images.py"


class Killed(BaseException):
    """What ends a driver at a step."""


@contextmanager
def wrapped(step: str, end: Callable[[], None]) -> Iterator[None]:
    """Have a function call `end` before it begins, or when it has done its work."""
    moment, name = step.split()
    holder_name, function_name = name.rsplit(".", 1)
    try:
        holder: Any = importlib.import_module(holder_name)
    except ModuleNotFoundError:
        module, owner = holder_name.rsplit(".", 1)
        holder = getattr(importlib.import_module(module), owner)
    function = getattr(holder, function_name)

    def deadly(*arguments: Any, **named: Any) -> Any:
        if moment == "before":
            end()
            return function(*arguments, **named)
        done = function(*arguments, **named)
        end()
        return done

    setattr(holder, function_name, deadly)
    try:
        yield
    finally:
        setattr(holder, function_name, function)


@contextmanager
def killed_here(step: str, table: Path) -> Iterator[None]:
    """Raise Killed at a step. The table is left as it was then, as by kill -9: what is tidied up on the way is not."""
    then = table.with_name(f".{table.name}-then")

    def end() -> None:
        shutil.copytree(table, then)
        raise Killed

    try:
        with wrapped(step, end):
            yield
    finally:
        if then.exists():
            shutil.rmtree(table)
            then.rename(table)


def main(moment: str, name: str, *arguments: str) -> None:
    """Run the job and kill this process at a step; nothing of it can run at its end."""
    sys.path.insert(0, str(JOB.parent))
    with wrapped(f"{moment} {name}", lambda: os.kill(os.getpid(), signal.SIGKILL)):
        sys.argv = [str(JOB), *arguments]
        runpy.run_path(str(JOB), run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
