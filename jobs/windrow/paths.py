"""The folders that Windrow writes to."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def home() -> Path:
    """Return the folder for everything that Windrow makes: WINDROW_HOME, or var/ next to the code."""
    return Path(os.environ.get("WINDROW_HOME") or REPOSITORY / "var").resolve()
