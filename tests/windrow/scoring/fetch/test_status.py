"""The statuses are a closed, documented set."""

from __future__ import annotations

import pytest
from windrow.scoring.fetch import status
from windrow.scoring.fetch.status import Status

PASSING = {
    *("robots_unavailable", "host_unavailable", "unresolved_host", "connect_failed", "timeout", "broken_response"),
    "http_unavailable",
}


def test_each_status_is_documented_with_its_kind() -> None:
    assert status.RULES.keys() == set(Status)
    assert all(rule.meaning for rule in status.RULES.values())
    assert {each.value for each in Status if each.passing} == PASSING


def test_what_is_tried_again_at_once_or_is_the_hosts_fault_is_never_final() -> None:
    for each, rule in status.RULES.items():
        assert rule.passing or not (rule.retried_now or rule.of_the_host), each


def test_each_status_has_its_place_in_the_fetcher() -> None:
    assert [each.value for each in Status if each.rule.retried_now] == [
        *("connect_failed", "broken_response", "http_unavailable"),
    ]
    assert [each.value for each in Status if each.rule.of_the_host] == [
        *("unresolved_host", "connect_failed", "timeout", "broken_response", "http_unavailable"),
    ]
    assert [each.value for each in Status if each.rule.no_connection] == [
        *("refused_address", "host_unavailable", "unresolved_host", "connect_failed", "timeout"),
    ]


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
