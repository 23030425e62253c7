"""Fuzz one target with atheris, where nothing can leave the machine; run.py starts this."""

from __future__ import annotations

import importlib
import sys

import atheris  # type: ignore[import-not-found]

from fuzz.targets import INSTRUMENTED


def main() -> None:
    """Fuzz sys.argv[1]; the rest are libFuzzer's options. Ends the process."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=INSTRUMENTED[name]):
        target = importlib.import_module(f"fuzz.targets.{name}")
    atheris.Setup(sys.argv, target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
