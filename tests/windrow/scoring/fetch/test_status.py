"""The statuses are a closed, documented set."""

from __future__ import annotations

import pytest
from windrow.scoring.fetch import status
from windrow.scoring.fetch.status import Status


def test_each_status_is_documented_with_its_kind() -> None:
    lines = {words[0]: words[1] for line in (status.__doc__ or "").splitlines() if len(words := line.split()) > 1}
    for each in Status:
        assert lines.pop(each.value) == ("passing" if each.passing else "final")
    assert not lines.keys() & {"passing", "final"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (200, "ok"),
        (206, "ok"),
        (301, "http_error"),
        (404, "http_error"),
        (429, "http_unavailable"),
        (599, "http_unavailable"),
    ],
)
def test_an_http_code_has_one_status(code: int, expected: str) -> None:
    assert status.of_http(code) == expected
