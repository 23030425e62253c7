"""A run is judged by the URLs that it tried for the first time, and what it says names the page's keys."""

from __future__ import annotations

import pytest
from windrow.experiment import ScoringSection
from windrow.scoring.report.figures import Figures
from windrow.scoring.report.shortfall import FEWEST, shortfall

MINIMUM = ScoringSection(feed="x").minimum_ok_share


def judged(minimum: float = MINIMUM, attempts: int = 5, **statuses: int) -> str:
    return shortfall(Figures(rows=sum(statuses.values()), statuses=statuses, first_tries=statuses), minimum, attempts)


def test_the_sentence_has_the_share_the_statuses_and_the_keys_that_decided() -> None:
    assert judged(refused_address=93, ok=3) == (
        "at least 20.0% of a run's URLs must get a label (scoring.minimum_ok_share); got 3.1%: 93 of 96 URLs ended as "
        "refused_address; scoring.allow_addresses decided that; the rows are committed; change that on the page, and "
        "its URLs are due again, or lower the minimum"
    )
    assert judged(http_error=30, not_an_image=10).endswith(
        "got 0.0%: 30 of 40 URLs ended as http_error; 10 of 40 URLs ended as not_an_image; the rows are committed; "
        "correct the feed, or lower the minimum"
    )


@pytest.mark.parametrize("status", ["connect_failed", "timeout", "unresolved_host"])
def test_urls_that_mostly_ended_for_now_are_tried_again_if_the_page_does_and_the_feed_is_not_blamed(
    status: str,
) -> None:
    assert judged(**{status: 30}, http_error=10).endswith(
        f"the rows are committed; URLs that ended as {status} are tried again by themselves; "
        "if that is no help, lower the minimum"
    )
    assert judged(attempts=1, **{status: 30}).endswith(
        f"URLs that ended as {status} are not tried again, because scoring.attempts is 1; raise that, and they are due "
        "again, or lower the minimum"
    )


@pytest.mark.parametrize(
    ("ok", "failed", "minimum", "fails"),
    [
        (4, 16, 0.2, False),
        (3, 17, 0.2, True),
        (0, FEWEST - 1, 0.2, False),
        (0, FEWEST, 0.2, True),
        (0, 1000, 0.0, False),
        (999, 1, 1.0, True),
        (1000, 0, 1.0, False),
    ],
)
def test_a_share_below_the_minimum_of_enough_urls_fails(ok: int, failed: int, minimum: float, fails: bool) -> None:
    assert bool(judged(minimum, ok=ok, timeout=failed)) == fails


def test_urls_that_failed_before_and_fail_again_are_no_news() -> None:
    figures = Figures(rows=100, statuses={"unresolved_host": 100}, first_tries={})
    assert shortfall(figures, MINIMUM, 5) == ""
