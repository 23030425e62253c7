"""Fuzz one target with atheris, where nothing can leave the machine; run.py starts this."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import atheris  # type: ignore[import-not-found]

from fuzz.targets import INSTRUMENTED

if TYPE_CHECKING:  # what a target imports must not be imported before its lines are counted
    from fuzz.layers import Layer

_INSIDE = 0.7  # of the changes, where a target knows the parts of its files; the others are to any bytes


def main() -> None:
    """Fuzz sys.argv[1]; the rest are libFuzzer's options. Ends the process."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=INSTRUMENTED[name]):
        target = importlib.import_module(f"fuzz.targets.{name}")
    if layer := getattr(target, "layer", None):
        atheris.Setup(sys.argv, target.check, custom_mutator=_mutator(layer))
    else:
        atheris.Setup(sys.argv, target.check)
    atheris.Fuzz()


def _mutator(layer: Callable[[bytes, Random], Layer | None]) -> Callable[[bytes, int, int], bytes]:
    """Return the function that libFuzzer calls for a changed input, with the most bytes of it and a seed."""

    def mutated(data: bytes, longest: int, seed: int) -> bytes:
        chance = Random(seed)
        found = layer(data, chance) if chance.random() < _INSIDE else None
        if found is not None and len(found[0]) <= longest:
            content, whole = found
            changed = whole(atheris.Mutate(content, longest))
            if len(changed) <= longest:
                return changed
        return bytes(atheris.Mutate(data, longest))

    return mutated


if __name__ == "__main__":
    main()
