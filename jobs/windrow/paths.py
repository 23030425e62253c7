"""Where Windrow keeps what it makes."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def home() -> Path:
    """The folder for everything that Windrow makes: WINDROW_HOME, or var/ beside the code."""
    return Path(os.environ.get("WINDROW_HOME") or REPOSITORY / "var").resolve()
