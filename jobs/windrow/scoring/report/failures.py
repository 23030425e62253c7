"""Choose, for each reason of failure, a few URLs that got no label."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from windrow.scoring.fetch.status import Status

_EXAMPLES = 3  # per reason


@dataclass(frozen=True)
class Failure:
    """A URL that got no label."""

    status: str
    url: str
    error: str


class FailureExamples:
    """Collects, for each reason, the URLs with the smallest keys, whichever files and batches their rows are in."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[str, Failure]]] = {}

    def add(self, rows: pa.RecordBatch) -> None:
        """Add the failures of a batch, which has the columns url_key, status, url and error."""
        failed = rows.filter(pc.not_equal(rows.column("status"), Status.OK.value))
        columns = (failed.column(name).to_pylist() for name in ("url_key", "status", "url", "error"))
        for key, status, url, error in zip(*columns, strict=True):
            chosen = [*self._found.get(status, []), (key, Failure(status, url, error or ""))]
            self._found[status] = heapq.nsmallest(_EXAMPLES, chosen, key=lambda pair: pair[0])

    def chosen(self) -> tuple[Failure, ...]:
        """Return the examples, grouped by reason."""
        return tuple(failure for examples in self._found.values() for _, failure in examples)
