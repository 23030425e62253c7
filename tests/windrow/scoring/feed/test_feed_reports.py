"""FeedFaults: what a feed's file holds can be stored and printed."""

from __future__ import annotations

import pytest
from windrow.scoring.feed.feed_reports import feed_fault


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("got sep=\x1b[31m", "got sep=\ufffd[31m"),  # found by make fuzz
        ("got \udcff\n and \0", "got ? and \ufffd"),
        ("got " + "x" * 1000, "got " + "x" * 295 + "…"),
    ],
)
def test_a_reason_is_a_short_line_that_steers_no_terminal(reason: str, shown: str) -> None:
    assert feed_fault("feed.csv", reason, 3).reason == shown


def test_a_files_name_is_shown_as_one_line_that_utf_8_can_hold() -> None:
    found = feed_fault("caf\udce9\n\x1b.csv", "it is gone")
    assert (found.file, found.line) == ("caf\ufffd\ufffd\ufffd.csv", None)
