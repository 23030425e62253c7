"""A driver script for spark-submit: runs score_images.py and kills itself with SIGKILL at one of its steps.

    spark-submit killed_at.py MOMENT NAME ARGS...        MOMENT is before or after, NAME a function's dotted name

The job is the real one: the function is only wrapped. Nothing of it can run at its end, as with any kill -9.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

JOB = Path(__file__).resolve().parents[2] / "jobs" / "score_images.py"


def wrap(moment: str, name: str) -> None:
    """Have the function kill this process before it begins, or when it has done its work."""
    holder_name, function_name = name.rsplit(".", 1)
    try:
        holder: Any = importlib.import_module(holder_name)
    except ModuleNotFoundError:
        module, owner = holder_name.rsplit(".", 1)
        holder = getattr(importlib.import_module(module), owner)
    function = getattr(holder, function_name)

    def deadly(*arguments: Any, **named: Any) -> None:
        if moment == "after":
            function(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(holder, function_name, deadly)


moment, name, *arguments = sys.argv[1:]
sys.path.insert(0, str(JOB.parent))
wrap(moment, name)
sys.argv = [str(JOB), *arguments]
runpy.run_path(str(JOB), run_name="__main__")
