"""Scoring the files of one day. That the DAG tells the job which day it is, test_dag_files.py and the story show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.spark

PAGE = """
name: daily
space: {units: {type: int, low: 1, high: 2}}
scoring: {feed: "feeds/daily/{date}/*.txt"}
"""


@pytest.fixture
def score(run_job: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Count what there is to do in a feed of two days, of one URL and two: score("--date", "2026-11-06")."""
    for day, urls in {"2026-11-05": 1, "2026-11-06": 2}.items():
        folder = tmp_path / "home" / "feeds" / "daily" / day
        folder.mkdir(parents=True)
        lines = (f"https://images.invalid/{day}/{number}.png\n" for number in range(urls))
        (folder / "urls.txt").write_text("".join(lines))
    page = tmp_path / "daily.yaml"
    page.write_text(PAGE)
    return lambda *options: run_job("score_images", "--experiment", page, "--dry-run", *options)


@pytest.mark.parametrize(("options", "urls"), [(["--date", "2026-11-06"], 2), ([], 3)])
def test_a_run_reads_the_day_that_was_chosen_or_all_of_them(
    score: Callable[..., Any], options: list[str], urls: int
) -> None:
    done = score(*options)
    assert done.code == 0, done.output
    assert done.result["urls"] == urls


def test_a_day_without_files_ends_in_a_sentence_that_no_retry_mends(score: Callable[..., Any]) -> None:
    done = score("--date", "2026-11-07")
    assert done.code == 2
    assert "the feed must match at least one file; got none for" in done.error
    assert "2026-11-07" in done.error
