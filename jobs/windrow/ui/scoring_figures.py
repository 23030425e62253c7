"""Select the figures of a scoring run for the Windrow page: no folder, no host, no value from a feed."""

from __future__ import annotations

from pathlib import PurePath
from typing import TypedDict

from windrow.scoring.feed.feed_reports import FeedFault
from windrow.scoring.fetch.status import Status
from windrow.scoring.report import drift
from windrow.scoring.report.figures import Drift, Figures, Truth

_STATUSES = frozenset(Status)


class Moved(TypedDict):
    """A population stability index (PSI), and its usual interpretation in words."""

    psi: float
    word: str


class Accuracy(TypedDict):
    """The share of a run's labels that equal the feed's true classes, its 95 % interval, and that of guessing."""

    accuracy: float
    low: float | None
    high: float | None
    baseline: float | None
    images: int


class Refused(TypedDict):
    """A file of the feed, or a record in it, that was not read: the file's name, the line, and why."""

    file: str
    line: int | None
    reason: str


class ReadRecords(TypedDict):
    """The records that a run read in its feed, by what became of them, and the first that were not read."""

    records: int
    known: int
    copies: int
    without_url: int
    files_refused: int
    refused: list[Refused]


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
    truth: Accuracy | None
    feed: ReadRecords


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
        "truth": _accuracy(figures.truth),
        "feed": _feed(figures),
    }


def _feed(figures: Figures) -> ReadRecords:
    counts, faults = figures.counts, figures.feed_faults
    return {
        "records": counts.records,
        "known": counts.already_scored,
        "copies": counts.copies,
        "without_url": counts.without_url,
        "files_refused": faults.files_refused,
        "refused": [_refused(found) for found in (*faults.refused, *faults.without_url)],
    }


def _refused(found: FeedFault) -> Refused:
    """Return a finding without its folder, and without the part of its reason that quotes the file."""
    rule = "; ".join(part for part in found.reason.split("; ") if not part.startswith("got "))
    return {"file": PurePath(found.file).name, "line": found.line, "reason": rule}


def _accuracy(truth: Truth | None) -> Accuracy | None:
    if truth is None or truth.accuracy is None:
        return None
    return {
        "accuracy": truth.accuracy,
        "low": truth.low,
        "high": truth.high,
        "baseline": truth.baseline,
        "images": truth.images,
    }


def _moved(psi: float | None) -> Moved | None:
    return None if psi is None else {"psi": psi, "word": drift.reading(psi)}
