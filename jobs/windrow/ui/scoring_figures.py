"""Select the figures of a scoring run for the Windrow page: no path, no host, no text from a feed."""

from __future__ import annotations

from typing import TypedDict

from windrow.scoring.fetch.status import Status
from windrow.scoring.report import drift
from windrow.scoring.report.figures import Drift, Figures

_STATUSES = frozenset(Status)


class Moved(TypedDict):
    """A population stability index (PSI), and its usual interpretation in words."""

    psi: float
    word: str


class ShownRun(TypedDict):
    """A scoring run on the Windrow page; `at` is Unix time in seconds."""

    at: float
    rows: int
    new: int
    retried: int
    rescored: int
    ok_share: float | None
    images_per_second: float | None
    model_version: str | None
    statuses: dict[str, int]
    labels: Moved | None
    scores: Moved | None


def scoring_run(figures: Figures, at: float) -> ShownRun:
    """Return a scoring run as JSON values for the Windrow page; `at` is Unix time in seconds."""
    counts, found = figures.counts, figures.drift or Drift()
    return {
        "at": round(at, 1),
        "rows": figures.rows,
        "new": counts.new,
        "retried": counts.retried,
        "rescored": counts.rescored,
        "ok_share": figures.ok_share,
        "images_per_second": figures.images_per_second,
        "model_version": figures.model_version or None,
        "statuses": {str(Status(name)): count for name, count in figures.statuses.items() if name in _STATUSES},
        "labels": _moved(found.labels),
        "scores": _moved(found.scores),
    }


def _moved(psi: float | None) -> Moved | None:
    return None if psi is None else {"psi": psi, "word": drift.reading(psi)}
