"""How a try at a labelled URL ends, and what is kept of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from windrow.experiment import ScoringSection
from windrow.scoring.fetch.fetcher import Fetched
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target
from windrow.scoring.labelled.downloading import DownloadPlan, kept
from windrow.scoring.labelled.image_store import ImageStore

from tests.windrow.scoring.conftest import grey, png_header

TARGET = Target("http://127.0.0.1/a", "a" * 64, "http://127.0.0.1/a", attempt=1)


@pytest.fixture
def plan(tmp_path: Path) -> DownloadPlan:
    return DownloadPlan.of(ScoringSection(feed="feed", max_pixels=10_000), ImageStore(tmp_path))


def test_an_image_is_kept_under_its_hash(plan: DownloadPlan) -> None:
    content = grey(7)
    each = kept(TARGET, Fetched(Status.OK, content=content), plan)
    assert (each.status, each.attempt, each.next_attempt, each.decided_by) == (Status.OK, 2, None, None)
    assert plan.store.path(each.content_hash or "").read_bytes() == content


@pytest.mark.parametrize(
    ("content", "status", "decided_by"),
    [
        (b"<html>", Status.NOT_AN_IMAGE, None),
        (b"", Status.NOT_AN_IMAGE, None),
        (png_header(20_000, 20_000), Status.IMAGE_TOO_LARGE, '{"scoring.max_pixels":10000}'),
    ],
)
def test_what_is_no_image_within_the_limits_is_not_kept(
    plan: DownloadPlan, content: bytes, status: Status, decided_by: str | None
) -> None:
    each = kept(TARGET, Fetched(Status.OK, content=content), plan)
    assert (each.status, each.content_hash, each.decided_by) == (status, None, decided_by)
    assert not list(plan.store.folder.rglob("*"))


def test_a_failure_that_may_pass_is_due_after_the_pause_or_when_the_host_says(plan: DownloadPlan) -> None:
    now = datetime.now(UTC)
    for wanted, hours in ((None, 12), (now + timedelta(hours=20), 20), (now + timedelta(days=30), 168)):
        each = kept(TARGET, Fetched(Status.TIMEOUT, error="late", next_attempt=wanted), plan)
        due = datetime.fromisoformat(each.next_attempt or "")
        assert abs(due - now - timedelta(hours=hours)) < timedelta(minutes=5)
        assert not each.is_due(now)
        assert each.is_due(now + timedelta(days=8))


def test_the_last_attempt_is_final(plan: DownloadPlan) -> None:
    last = Target("u", "a" * 64, "http://127.0.0.1/a", attempt=4)
    each = kept(last, Fetched(Status.HTTP_UNAVAILABLE, error="HTTP 503"), plan)
    assert (each.next_attempt, each.decided_by) == (None, '{"scoring.attempts":5}')
