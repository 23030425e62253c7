"""A sweep beside a clock that jumps, and beside another sweep on its study."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.submit, pytest.mark.spark, pytest.mark.mlflow]
HOURS = 3600.0
"""The clock jumps by at least as many: a duration that was measured by it would be longer, or negative."""


def test_a_clock_that_jumps_by_hours_changes_nothing(
    launch: Callable[..., Any], new_study: Callable[..., Any], check_books: Callable[..., Any]
) -> None:
    study = new_study("jumps", trials=12)
    limits = ("sweep.trial_seconds=60", "sweep.budget_seconds=250")
    driver = launch(study, *limits, WINDROW_FAULTS_CLOCK="jumps")
    assert driver.wait(280) == 0, driver.tail()
    result = json.loads(driver.result.read_text())
    assert check_books(study).total() == 12
    assert result["out_of_time"] is False
    assert 0 < result["seconds"] < HOURS
    assert 0 < result["training_seconds"] < HOURS
    assert 0 <= result["efficiency"]["idle_tail_seconds"] < HOURS
    assert all(0 < entry.outcome.seconds < HOURS for entry in study.entries())


def test_a_second_sweep_on_a_study_exits_with_2_and_names_the_first(
    launch: Callable[..., Any], new_study: Callable[..., Any], check_books: Callable[..., Any]
) -> None:
    study = new_study("shared", trials=60)
    first = launch(study)
    first.wait_for_settled(study, 1)
    (pid,) = (process.pid for process in first.victims()["driver"])
    second = launch(study)
    assert second.wait(280) == 2, second.tail()
    assert first.wait(280) == 0, first.tail()
    last = second.log.read_text().strip().splitlines()[-1]
    assert f"one sweep at a time may work in {study.folder}; process {pid} on " in last
    check_books(study)
