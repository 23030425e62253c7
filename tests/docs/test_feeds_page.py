"""docs/feeds.md: the backfill that it names makes a run of each of its days."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness.documents import commands

PAGE = """
name: digits
space: {learning_rate: {type: float, low: 0.001, high: 0.01}}
scoring: {feed: "feeds/digits/{date}/*.txt", schedule: "0 3 * * *"}
"""


@pytest.mark.airflow
@pytest.mark.faults
def test_a_backfill_has_a_run_for_each_day_that_the_page_says(airflow: Any, dag_folder: Callable[..., Path]) -> None:
    (command,) = commands("docs/feeds.md", "airflow backfill create")
    first, last = (date.fromisoformat(day) for day in re.findall(r"20\d\d-\d\d-\d\d", command))
    days = [str(first + timedelta(number)) for number in range((last - first).days + 1)]
    environment = {**airflow.environment, "AIRFLOW__CORE__DAGS_FOLDER": str(dag_folder(digits=PAGE))}

    def run(*arguments: str) -> str:
        told = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(told, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("dags", "reserialize")
    run(*shlex.split(command)[1:])
    listed = next(
        line for line in run("dags", "list-runs", "score_digits", "-o", "json").splitlines() if line[:2] == "[{"
    )
    runs = sorted(json.loads(listed), key=lambda each: each["logical_date"])
    assert [each["logical_date"][:10] for each in runs] == days
    assert all(each["run_id"].startswith("backfill__") for each in runs)
