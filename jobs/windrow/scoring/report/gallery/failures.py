"""The URLs of a run that got no label: a few of each reason."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from windrow.scoring.fetch.status import Status
from windrow.scoring.table import prediction

_EXAMPLES = 3  # of each reason


@dataclass(frozen=True)
class Failure:
    """A URL that got no label."""

    status: str
    url: str
    error: str


def failures(files: Sequence[Path]) -> list[Failure]:
    """A few URLs of each reason among a run's files, those of the smallest keys: the same however it was divided."""
    found: dict[str, list[tuple[str, Failure]]] = {}
    for path in files:
        for batch in prediction.read_rows(path, ["url_key", "status", "url", "error"]):
            for row in batch.filter(pc.not_equal(batch.column("status"), Status.OK.value)).to_pylist():
                failure = Failure(row["status"], row["url"], row["error"] or "")
                kept = found.setdefault(row["status"], [])
                found[row["status"]] = heapq.nsmallest(_EXAMPLES, [*kept, (row["url_key"], failure)], key=_key)
    return [failure for status in found for _, failure in found[status]]


def _key(pair: tuple[str, Failure]) -> str:
    return pair[0]
