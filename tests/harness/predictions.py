"""Rows of the predictions table, without a download and without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from windrow.scoring.fetch.request import Fetched
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target, understand
from windrow.scoring.table.prediction import Prediction, Stamp

STAMP = Stamp("run", "model", "1", "digest")


def row_of(target: Target | str, status: str = "ok", stamp: Stamp = STAMP, **columns: Any) -> Prediction:
    """The row of a URL that ended with `status`, and whatever else it has."""
    understood = understand(target.encode()) if isinstance(target, str) else target
    assert understood is not None
    row = Prediction.of(understood, Fetched(Status(status), error=understood.error), stamp)
    return replace(row, **{"content_hash": None, **columns})


def labelled_row(
    target: Target | str,
    ids: Sequence[int],
    scores: Sequence[float],
    names: Sequence[str],
    stamp: Stamp = STAMP,
    **columns: Any,
) -> Prediction:
    """The row of a URL whose image has these labels, best first."""
    return row_of(target, stamp=stamp, **columns).with_labels(ids, scores, names)
