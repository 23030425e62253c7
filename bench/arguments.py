"""Arguments shared by sweeps.py, overhead.py and pruning.py."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import report
import windrow_job


def parser(description: str | None, result: str, timeout: int) -> argparse.ArgumentParser:
    """A parser with the arguments of every measurement; `timeout` (seconds a run) and `result` are its defaults."""
    arguments = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = arguments.add_argument
    add("--slots", type=int, default=2, metavar="N", help="cores, and trials at once (default 2)")
    add("--timeout", type=float, default=timeout, metavar="SECONDS", help=f"for each run (default {timeout})")
    add("--windrow", type=Path, default=windrow_job.REPOSITORY, metavar="DIR", help="checkout to measure (this one)")
    out = report.RESULTS / result
    add("--out", type=Path, default=out, metavar="FILE", help=f"JSON to write (default bench/results/{result})")
    return arguments


def add_source(arguments: argparse.ArgumentParser) -> None:
    """Add the option for the folder of MNIST."""
    text = "folder with MNIST's four files (default: download them)"
    arguments.add_argument("--source", default="mnist", metavar="DIR", help=text)


def add_tools(arguments: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Add the option for the tools to measure."""
    known = tuple(names)
    text = f"of {','.join(known)} (default: all)"
    arguments.add_argument("--tools", type=_subset(known), default=known, metavar="A,B", help=text)


def _subset(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"tools are {', '.join(known)}; got {', '.join(sorted(unknown))}")
        return names

    return read
