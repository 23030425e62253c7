"""A scoring's figures, as much of them as the page shows: no path, no host, nothing that a feed has written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windrow.scoring.fetch.status import Status
from windrow.scoring.report import drift

_KEPT = ("rows", "new", "retried", "rescored", "ok_share", "images_per_second", "model_version")


def night(figures: Mapping[str, Any], at: float) -> dict[str, Any]:
    """A scoring for the page.

    Args:
        figures: as its commit has them.
        at: Unix time, seconds.
    """
    return {
        "at": round(at, 1),
        **{name: figures.get(name) for name in _KEPT},
        "statuses": {str(Status(name)): int(count) for name, count in figures["statuses"].items() if name in _NAMES},
        **{name: _moved(figures.get(f"psi_{name}")) for name in ("labels", "scores")},
    }


_NAMES = frozenset(Status)


def _moved(psi: float | None) -> dict[str, Any] | None:
    return None if psi is None else {"psi": psi, "word": drift.word(psi)}
