"""A row remembers the keys that decided it, and is due again only where the page permits more than it did then."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.experiment import ScoringSection
from windrow.scoring.fetch.status import RULES, Status
from windrow.scoring.table.deciding import NAMES, NO_KEYS, DecidingKeys


def keys(**values: Any) -> DecidingKeys:
    return DecidingKeys.of(ScoringSection.model_validate({"feed": "x", **values}))


def test_each_key_that_decides_is_a_key_of_the_page() -> None:
    assert set(ScoringSection.model_fields) >= NAMES
    assert set(keys().values) == NAMES
    assert {status.value for status in Status if status.rule.keys} == {
        *("refused_address", "refused_robots", "robots_unavailable", "timeout", "too_large", "image_too_large"),
    }


@pytest.mark.parametrize(
    ("status", "final", "expected"),
    [
        (Status.OK, True, None),
        (Status.HTTP_ERROR, True, None),
        (Status.REFUSED_ADDRESS, True, {"scoring.allow_addresses": ["127.0.0.0/8"]}),
        (Status.REFUSED_ROBOTS, True, {"scoring.robots": True}),
        (Status.TOO_LARGE, True, {"scoring.max_bytes": 5000}),
        (Status.CONNECT_FAILED, False, None),
        (Status.CONNECT_FAILED, True, {"scoring.attempts": 5}),
        (Status.ROBOTS_UNAVAILABLE, True, {"scoring.robots": True, "scoring.attempts": 5}),
    ],
)
def test_a_row_has_what_decided_it(status: Status, final: bool, expected: dict[str, object] | None) -> None:
    found = keys(allow_addresses=["127.0.0.0/8"], max_bytes=5000).decided_by(status, final)
    assert (found and json.loads(found)) == expected


@pytest.mark.parametrize(
    ("status", "before", "now", "loosened"),
    [
        (Status.TOO_LARGE, {"max_bytes": 1000}, {"max_bytes": 1001}, ["max_bytes"]),
        (Status.TOO_LARGE, {"max_bytes": 1001}, {"max_bytes": 1000}, []),
        (Status.IMAGE_TOO_LARGE, {"max_pixels": 64}, {"max_pixels": 65}, ["max_pixels"]),
        (Status.REFUSED_ROBOTS, {}, {"robots": False}, ["robots"]),
        (Status.TIMEOUT, {}, {"read_seconds": 11.0}, ["read_seconds"]),
        (Status.TIMEOUT, {}, {"read_seconds": 9.0, "attempts": 3}, []),
        (Status.HTTP_UNAVAILABLE, {"attempts": 2}, {"attempts": 3}, ["attempts"]),
        (Status.REFUSED_ADDRESS, {}, {"allow_addresses": ["127.0.0.0/8"]}, ["allow_addresses"]),
        (Status.REFUSED_ADDRESS, {"allow_addresses": ["127.0.0.0/8"]}, {}, []),
        (Status.REFUSED_ADDRESS, {"allow_addresses": ["10.0.0.0/8"]}, {"allow_addresses": ["10.1.0.0/16"]}, []),
        (
            Status.REFUSED_ADDRESS,
            {"allow_addresses": ["10.0.0.0/9", "10.128.0.0/9"]},
            {"allow_addresses": ["10.0.0.0/8"]},
            [],
        ),
        (
            Status.REFUSED_ADDRESS,
            {"allow_addresses": ["10.0.0.0/8"]},
            {"allow_addresses": ["10.0.0.0/8", "::1/128"]},
            ["allow_addresses"],
        ),
        (Status.TOO_LARGE, {"max_bytes": 1000}, {"max_pixels": 80_000_000}, ["max_bytes"]),
    ],
)
def test_a_row_is_due_again_only_by_its_own_key_and_only_in_the_looser_direction(
    status: Status, before: dict[str, Any], now: dict[str, Any], loosened: list[str]
) -> None:
    decided = keys(**before).decided_by(status, final=True)
    assert decided is not None
    assert keys(**now).loosened(decided) == loosened


def test_a_table_that_knows_a_key_of_a_later_windrow_is_read() -> None:
    assert keys().loosened('{"scoring.of_a_later_version":3}') == []
    assert NO_KEYS.decided_by(Status.TOO_LARGE, final=True) is None


SECTIONS = st.fixed_dictionaries(
    {
        "allow_addresses": st.lists(
            st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "127.0.0.0/8", "::1/128"]), max_size=3
        ),
        "robots": st.booleans(),
        "max_bytes": st.integers(1000, 1003),
        "max_pixels": st.integers(64, 66),
        "attempts": st.integers(1, 3),
        "timeout_seconds": st.sampled_from([5.0, 20.0]),
        "read_seconds": st.sampled_from([5.0, 10.0]),
    }
)


@given(pages=st.lists(SECTIONS, min_size=1, max_size=8), status=st.sampled_from(sorted(RULES)))
def test_a_page_that_a_url_was_asked_with_does_not_ask_it_again(pages: list[dict[str, Any]], status: Status) -> None:
    """The URL ends with the same status each time."""
    decided: str | None = keys(**pages[0]).decided_by(status, final=True)
    for now in (keys(**page) for page in pages):
        if decided and now.loosened(decided):
            decided = now.decided_by(status, final=True)
        assert not now.loosened(decided or "{}")


@given(sizes=st.lists(st.integers(1000, 1005), min_size=1))
def test_a_limit_that_goes_up_and_down_asks_once_for_each_value_above_all_before(sizes: list[int]) -> None:
    asked = [sizes[0]]
    for size in sizes:
        if keys(max_bytes=size).loosened(json.dumps({"scoring.max_bytes": asked[-1]})):
            asked.append(size)
    assert asked == sorted(set(asked))
    assert asked[-1] == max(sizes)
