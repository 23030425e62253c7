"""How tests reach the scripts in bench/, which are no package."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """Import bench/NAME.py as the scripts import each other."""

    def load(name: str) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(BENCH))
            return importlib.import_module(name)

    return load
