"""The limit that a run was as slow as is named, and none where hosts could have been asked faster."""

from __future__ import annotations

from typing import Any

import pytest
from windrow.experiment import ScoringSection
from windrow.scoring.report.pace import BusiestHost, held_back_by


@pytest.mark.parametrize(
    ("urls", "fetch_seconds", "seconds", "keys", "expected"),
    [
        (101, 2.0, 12.0, {}, "scoring.host_rate"),  # ten a second take ten seconds
        (101, 2.0, 30.0, {}, ""),  # the network was loaded for most of the time
        (101, 2.0, 12.0, {"host_rate": None}, ""),
        (101, 2.0, 12.0, {"host_rate": 1000.0}, ""),
        (101, 44.0, 12.0, {"host_rate": None}, "scoring.host_concurrency"),  # four at once take eleven seconds
        (101, 44.0, 12.0, {"host_rate": 1000.0, "host_concurrency": 64}, ""),
        (1, 0.0, 5.0, {}, ""),
        (100, 9.0, 0.0, {}, ""),
    ],
)
def test_a_limit_held_a_run_back_if_it_took_half_of_its_time(
    urls: int, fetch_seconds: float, seconds: float, keys: dict[str, Any], expected: str
) -> None:
    scoring = ScoringSection(feed="x").model_copy(update=keys)
    assert held_back_by(BusiestHost(urls, fetch_seconds), seconds, scoring) == expected


def test_a_run_without_a_host_was_not_held_back() -> None:
    assert held_back_by(None, 10.0, ScoringSection(feed="x")) == ""
