"""What a run says of the files of its feed: which it refused, and which records had no URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from windrow.plural import counted
from windrow.scoring.feed.feed_reports import SHOWN, FeedFault, PieceReport


@dataclass(frozen=True)
class FeedFigures:
    """Faults of a feed, with the places of the first 20 of each kind.

    Attributes:
        files_refused: files that could not be read, or not to their end.
        refused: where and why.
        without_url: records without a URL, by place and reason; UrlCounts has their number.
        notes: columns with values that could not be carried, and files whose last record may be half written.
    """

    files_refused: int = 0
    refused: tuple[FeedFault, ...] = ()
    without_url: tuple[FeedFault, ...] = ()
    notes: tuple[FeedFault, ...] = ()

    @classmethod
    def of(
        cls, refused: Sequence[FeedFault], faults: Sequence[FeedFault] = (), report: PieceReport | None = None
    ) -> FeedFigures:
        """Join the files that were refused, before or while they were read, and the report of the others."""
        by_file = {found.file: found for found in reversed([*refused, *faults])}
        files = [by_file[name] for name in sorted(by_file)]
        report = report or PieceReport()
        return cls(len(files), tuple(files[:SHOWN]), tuple(report.examples), tuple(report.notes))

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> FeedFigures:
        """Read what `to_json` returned, among other values; no faults if these lack it."""
        if "files_refused" not in values:
            return cls()
        found: Any = values
        names = ("refused_files", "records_without_url", "feed_notes")
        return cls(found["files_refused"], *(tuple(FeedFault(**each) for each in found[name]) for name in names))

    def to_json(self) -> dict[str, object]:
        """Return the faults as JSON values; empty without any."""
        if self == FeedFigures():
            return {}
        return {
            "files_refused": self.files_refused,
            "refused_files": [asdict(found) for found in self.refused],
            "records_without_url": [asdict(found) for found in self.without_url],
            "feed_notes": [asdict(found) for found in self.notes],
        }

    def lines(self) -> list[str]:
        """Describe the faults, each with its place; empty without any."""
        found = []
        if self.files_refused:
            files = counted(self.files_refused, "file of the feed is refused", "files of the feed are refused")
            found += [f"warning: {files}", *(f"  {each}" for each in self.refused)]
        found += [f"  without a URL: {each}" for each in self.without_url]
        return found + [f"  note: {each}" for each in self.notes]
