"""The same bytes behind another URL: a task labels them once.

It knows the last 10,000 that it has labelled, and those that wait for their batch. Tasks do not tell each other, so
bytes that several hosts have may be computed once in each task.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from windrow.scoring.table.prediction import Row

LARGEST = 10_000
_COMPUTED = ("status", "error", "width", "height", "top_k", "label_id", "label", "score")


class Twins:
    """Rows by `content_hash`: what was computed for one holds for all. Of a twin no decode_ms or predict_ms is said."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._known: OrderedDict[str, Row] = OrderedDict()
        self._waiting: dict[str, list[Row]] = {}

    def of(self, row: Row) -> Row | None:
        """The whole row, if its bytes are labelled already."""
        computed = self._known.get(row["content_hash"])
        if computed is None:
            return None
        self._known.move_to_end(row["content_hash"])
        return {**row, **computed}

    def waits(self, row: Row) -> bool:
        """Whether its bytes wait for their batch; the row is then kept, and given by `ended` with the first one.

        If they do not, they are said to wait from now on.
        """
        if (others := self._waiting.get(row["content_hash"])) is None:
            self._waiting[row["content_hash"]] = []
            return False
        others.append(row)
        return True

    def ended(self, row: Row) -> Iterator[Row]:
        """A row whose bytes were looked at, and those that waited for it."""
        computed = {name: row.get(name) for name in _COMPUTED}
        yield row
        for twin in self._waiting.pop(row["content_hash"], ()):
            yield {**twin, **computed}
        self._known[row["content_hash"]] = computed
        if len(self._known) > self._largest:
            self._known.popitem(last=False)
