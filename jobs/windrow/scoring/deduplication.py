"""Label identical image bytes only once per task, however many URLs they have.

A task remembers the results of the last 10,000 images, and the images in the batch that is not full yet. Bytes that it
has forgotten are labelled again. Tasks share nothing, so bytes that several hosts serve may be labelled in each task.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from windrow.scoring.fetch.status import Status
from windrow.scoring.table.prediction import Prediction, RankedLabel

LARGEST = 10_000


class _Result(NamedTuple):
    """The columns of a row that depend on the image's bytes alone. Times are left out: a duplicate takes none."""

    status: Status
    error: str | None
    width: int | None
    height: int | None
    top_k: tuple[RankedLabel, ...] | None
    label_id: int | None
    label: str | None
    score: float | None

    @classmethod
    def of(cls, row: Prediction) -> _Result:
        """Take the result from a row."""
        return cls(*(getattr(row, name) for name in cls._fields))

    def copied_to(self, row: Prediction) -> Prediction:
        """Return a copy of the row with this result."""
        return replace(row, **self._asdict())


class Duplicates:
    """Remembers results by `content_hash`, and copies them to duplicate rows, without decode and predict times.

    Args:
        largest: the number of results to remember.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._results: OrderedDict[str | None, _Result] = OrderedDict()
        self._waiting: dict[str | None, list[Prediction]] = {}

    def find(self, row: Prediction) -> Prediction | None:
        """Return the finished row if the result for its bytes is remembered; else None."""
        result = self._results.get(row.content_hash)
        if result is None:
            return None
        self._results.move_to_end(row.content_hash)
        return result.copied_to(row)

    def waits(self, row: Prediction) -> bool:
        """Return whether the row must wait, because an earlier row with the same bytes is being labelled.

        `finished` yields a row that waits together with the earlier row. A row that does not wait must be labelled by
        the caller, and later rows with the same bytes wait for it.
        """
        if (others := self._waiting.get(row.content_hash)) is None:
            self._waiting[row.content_hash] = []
            return False
        others.append(row)
        return True

    def finished(self, row: Prediction) -> Iterator[Prediction]:
        """Yield a row that is labelled or could not be decoded, and the rows that waited for it."""
        result = _Result.of(row)
        yield row
        for duplicate in self._waiting.pop(row.content_hash, ()):
            yield result.copied_to(duplicate)
        self._results[row.content_hash] = result
        if len(self._results) > self._largest:
            self._results.popitem(last=False)
