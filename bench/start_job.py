"""A Spark job that notes when each step of its start is done: Windrow's sweep, or a naive one. start.py submits it.

Windrow's code is not changed and nothing is imported earlier than it would be: a step's function is wrapped when the
sweep itself imports its module.
"""

from __future__ import annotations

import argparse
import functools
import importlib.abc
import importlib.machinery
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SESSION, WORKERS = "Spark's session is open", "the workers have TensorFlow"
STEPS = {
    "windrow.spark": {"open_session": SESSION},
    "windrow.sweep.cluster": {"ship": "files are sent", "warm": WORKERS},
    "windrow.tracking.server": {"connect": "MLflow is imported, in a thread"},
    "windrow.tracking.sweep_log": {"open_sweep": "MLflow's runs are open"},
}
"""What a step is called, by the module and the function that ends it."""

stamps: dict[str, float] = {}
"""When each step was done, Unix seconds."""


class Finder(importlib.abc.MetaPathFinder):
    """Wraps the functions of STEPS as their modules are imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        """Python's own answer, whose loader also wraps the function."""
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name in STEPS else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_wrap(module: Any) -> None:
            execute(module)
            for function, step in STEPS[name].items():
                setattr(module, function, noted(getattr(module, function), step))

        spec.loader.exec_module = execute_and_wrap  # type: ignore[method-assign]
        return spec


def noted(function: Callable[..., Any], step: str) -> Callable[..., Any]:
    """The function, or context manager, with a note of the moment when it has returned or is entered."""

    @functools.wraps(function)
    def call(*arguments: Any, **more: Any) -> Any:
        value = function(*arguments, **more)
        if hasattr(value, "__enter__") and step == SESSION:
            return entered(value, step)
        stamps[step] = time.time()
        return value

    return call


@contextmanager
def entered(manager: Any, step: str) -> Iterator[Any]:
    """The context manager, with a note of the moment when it is entered."""
    with manager as value:
        stamps[step] = time.time()
        yield value


def sweep(jobs: Path, arguments: list[str]) -> int:
    """Run jobs/sweep.py of a checkout; its exit code."""
    sys.path.insert(0, str(jobs))
    sys.meta_path.insert(0, Finder())
    import sweep as job

    sys.argv = [str(jobs / "sweep.py"), *arguments]
    return int(job.main())


def naive(slots: int) -> int:
    """Open a session and import TensorFlow in each slot's worker."""
    from pyspark.sql import SparkSession

    with SparkSession.builder.appName("naive").getOrCreate() as spark:
        stamps[SESSION] = time.time()
        spark.sparkContext.parallelize(range(slots), slots).map(import_tensorflow).collect()
        stamps[WORKERS] = time.time()
    return 0


def import_tensorflow(_: int) -> str:
    """Import it in a worker; its version."""
    import tensorflow as tf

    return str(tf.__version__)


def main() -> int:
    """Run the job, then write the stamps."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--stamps", type=Path, required=True, metavar="FILE", help="JSON to write")
    parser.add_argument("--jobs", type=Path, metavar="DIR", help="the checkout's jobs/ to measure (default: naive job)")
    parser.add_argument("--slots", type=int, default=2, metavar="N", help="workers of the naive job (default 2)")
    options, arguments = parser.parse_known_args()  # the rest is the sweep's
    code = sweep(options.jobs, arguments) if options.jobs else naive(options.slots)
    options.stamps.write_text(json.dumps(stamps))
    return code


if __name__ == "__main__":
    sys.exit(main())
