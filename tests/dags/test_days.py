"""The score DAG on the files of one day: what a person chooses in the form is what the job reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.spark]

PAGE = """
name: daily
space: {units: {type: int, low: 1, high: 2}}
scoring: {feed: "feeds/daily/{date}/*.txt"}
"""


@pytest.fixture
def feeds(airflow: Any) -> Path:
    """Two days, one URL and two."""
    folder = Path(airflow.environment["WINDROW_HOME"]) / "feeds" / "daily"
    for day, urls in {"2026-11-05": 1, "2026-11-06": 2}.items():
        (folder / day).mkdir(parents=True, exist_ok=True)
        lines = (f"https://images.invalid/{day}/{number}.png\n" for number in range(urls))
        (folder / day / "urls.txt").write_text("".join(lines))
    return folder


@pytest.mark.usefixtures("feeds")
@pytest.mark.parametrize(("day", "urls"), [("2026-11-06", 2), (None, 3)])
def test_a_run_reads_the_day_that_was_chosen_or_all_of_them(
    airflow: Any, dag_folder: Callable[..., Path], day: str | None, urls: int
) -> None:
    run = airflow.run(dag_folder(daily=PAGE), "score_daily", {"dry_run": True, "date": day})
    assert run.state == "success", run.log[-5000:]
    assert run.tasks["score_images"]["xcoms"]["return_value"]["urls"] == urls


@pytest.mark.usefixtures("feeds")
def test_a_day_without_files_ends_in_a_sentence_and_is_not_tried_again(
    airflow: Any, dag_folder: Callable[..., Path]
) -> None:
    run = airflow.run(dag_folder(daily=PAGE), "score_daily", {"date": "2026-11-07"})
    assert (run.state, run.tasks["score_images"]["tries"]) == ("failed", 1), run.log[-5000:]
    assert "the feed must match at least one file; got none for" in run.note
    assert "2026-11-07" in run.note
