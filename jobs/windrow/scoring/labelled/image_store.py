"""Keep the images of a feed in a folder, and how the newest try at each URL ended.

    WINDROW_HOME/labelled/DIGEST/bytes/ab/abcd...   an image, named by the SHA-256 of its content
    WINDROW_HOME/labelled/DIGEST/index.jsonl        a line a URL: how its newest try ended
    WINDROW_HOME/labelled/DIGEST/tries/*.jsonl      the same of a run that is under way, or was killed

A task writes a line as soon as the image is kept, so whatever ends a run, no download that ended is lost. A line that
a killed process left half written does not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from windrow.files import write_text
from windrow.scoring.fetch.byte_cache import ByteCache
from windrow.scoring.fetch.status import Status

_ROOM = 1 << 62  # bytes: the whole disk


@dataclass(frozen=True)
class Try:
    """How a try at a URL ended.

    Attributes:
        key: SHA-256 of the normalised URL.
        status: OK, or the reason.
        ended: when, ISO 8601 in UTC.
        attempt: runs that tried this URL, this one included.
        content_hash: SHA-256 of the image; None unless the status is OK.
        error: the reason as a message for the user; None if the status is OK.
        next_attempt: when the URL is due again, ISO 8601 in UTC; None for never.
        decided_by: the page's keys that decided the status, with their values, as a JSON object; None if none did.
        usage: the answer's headers on the use of the image, see fetch/usage.py; None if there were none.
    """

    key: str
    status: Status
    ended: str
    attempt: int
    content_hash: str | None = None
    error: str | None = None
    next_attempt: str | None = None
    decided_by: str | None = None
    usage: str | None = None

    def to_line(self) -> str:
        """Return the try as a line of JSON with its end."""
        return json.dumps(asdict(self)) + "\n"

    @property
    def reason(self) -> str:
        """Why there is no image; for a try that failed."""
        return f"{self.status}: {self.error}" if self.error else str(self.status)

    def is_due(self, now: datetime) -> bool:
        """Return whether the time has come to try the URL again."""
        return self.next_attempt is not None and datetime.fromisoformat(self.next_attempt) <= now


@dataclass(frozen=True)
class ImageStore:
    """The folder of one feed's images. One process at a time changes it, with its tasks (files.locked)."""

    folder: Path

    @classmethod
    def of_feed(cls, home: Path, pattern: str) -> ImageStore:
        """Return the store for a feed, by the absolute glob of its files."""
        return cls(home / "labelled" / sha256(pattern.encode("utf-8", "surrogateescape")).hexdigest()[:16])

    @property
    def images(self) -> ByteCache:
        """The images, by content hash."""
        return ByteCache(str(self.folder / "bytes"), _ROOM)

    def path(self, content_hash: str) -> Path:
        """Return where an image is kept."""
        return self.folder / "bytes" / content_hash[:2] / content_hash

    def tries_of(self, task: int, attempt: int) -> Path:
        """Return a new file for the tries of a task that is under way; its folder is made."""
        folder = self.folder / "tries"
        folder.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        return folder / f"{stamp}-{task}-{attempt}.jsonl"

    def settle(self) -> dict[str, Try]:
        """Return the newest try at each URL, by key, and gather all tries in the index."""
        parts = sorted((self.folder / "tries").glob("*.jsonl"))
        found: dict[str, Try] = {}
        for path in (self.folder / "index.jsonl", *parts):
            for each in _read(path):
                if each.key not in found or found[each.key].ended <= each.ended:
                    found[each.key] = each
        if parts:
            self._gather(found.values())
            for path in parts:  # only now: what is in both counts once
                path.unlink()
        return found

    def _gather(self, tries: Iterable[Try]) -> None:
        write_text(self.folder / "index.jsonl", "".join(each.to_line() for each in tries))


def _read(path: Path) -> Iterator[Try]:
    """Yield the tries in a file; none if it is absent. A line that is no try ends a file that was cut off."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            values = json.loads(line)
            yield Try(**{**values, "status": Status(values["status"])})
        except (ValueError, TypeError, KeyError):
            continue
