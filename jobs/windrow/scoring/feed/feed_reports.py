"""What reading a feed reports: refused files, records without a URL, and how many records were read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from windrow.errors import UserError

SHOWN = 20
"""The most files, and the most records, that a run's report names; the counts are of all."""

_REASON_CHARACTERS = 300


@dataclass(frozen=True)
class FeedFault:
    """A place in a feed with the reason why it was not read as it stands.

    Attributes:
        file: the file's path.
        line: the line, from 1; in Parquet the row. None if the whole file is meant.
        reason: a sentence with the rule, what was found, and the cure.
    """

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}, line {self.line:,}"
        return f"{place}: {self.reason}"


class FeedFileError(UserError):
    """A file that can't be read as a feed. A run reads the others, and reports this one."""

    def __init__(self, path: Path | str, reason: str, line: int | None = None) -> None:
        self.fault = feed_fault(path, reason, line)
        super().__init__(str(self.fault))


@dataclass
class PieceReport:
    """What one piece of a feed gave, filled while it is read.

    Attributes:
        records: records with and without a URL; blank lines do not count.
        without_url: those of `records` without a URL, which get no row.
        examples: a few of these.
        notes: values that could not be carried as they are.
        fault: why the rest of the piece could not be read; None if all was read.
    """

    records: int = 0
    without_url: int = 0
    examples: list[FeedFault] = field(default_factory=list)
    notes: list[FeedFault] = field(default_factory=list)
    fault: FeedFault | None = None

    def reject(self, file: str, line: int, reason: str) -> None:
        """Count a record without a URL."""
        self.without_url += 1
        if len(self.examples) < SHOWN:
            self.examples.append(feed_fault(file, reason, line))

    def to_json(self) -> str:
        """Return the report as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PieceReport:
        """Read what `to_json` returned."""
        values = json.loads(text)
        fault = values["fault"]
        return cls(
            values["records"],
            values["without_url"],
            [FeedFault(**each) for each in values["examples"]],
            [FeedFault(**each) for each in values["notes"]],
            FeedFault(**fault) if fault else None,
        )


def feed_fault(path: Path | str, reason: str, line: int | None = None) -> FeedFault:
    """Return a fault whose texts are short and can be printed; a file may hold what would steer a terminal."""
    clean = " ".join(reason.encode("utf-8", "replace").decode().split())
    if len(clean) > _REASON_CHARACTERS:
        clean = f"{clean[: _REASON_CHARACTERS - 1]}…"
    return FeedFault(shown_name(path), line, _printable(clean))


def shown_name(path: Path | str) -> str:
    """Return a file's name as faults have it, with U+FFFD for what can't be printed."""
    return _printable(str(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def total(reports: Iterable[PieceReport]) -> PieceReport:
    """Return one report for several pieces, without the pieces' faults; each text in it stands once."""
    whole = PieceReport()
    for report in reports:
        whole = replace(
            whole,
            records=whole.records + report.records,
            without_url=whole.without_url + report.without_url,
            examples=[*whole.examples, *report.examples][:SHOWN],
            notes=list(dict.fromkeys([*whole.notes, *report.notes]))[:SHOWN],
        )
    return whole
