"""The repository's folder, and the folder that Windrow writes to."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def home() -> Path:
    """Return the folder for everything that Windrow writes: WINDROW_HOME, or var/ in the repository."""
    return Path(os.environ.get("WINDROW_HOME") or REPOSITORY / "var").resolve()
