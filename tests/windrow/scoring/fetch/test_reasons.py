"""Reasons: what a server writes can be stored and printed."""

from __future__ import annotations

import pytest
from windrow.scoring.fetch.reasons import clean


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Not\tFound\r\n", "Not Found"),
        ("caf\udce9", "caf\ufffd"),
        ("\x1b[31mred\x07", "\ufffd[31mred\ufffd"),
        ("\x9b31m\u202eback", "\ufffd31m\ufffdback"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_a_servers_text_is_one_line_that_steers_no_terminal(text: str, shown: str) -> None:
    assert clean(text) == shown
