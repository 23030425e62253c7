"""A sweep beside a clock that jumps, and beside another sweep on its study."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.spark, pytest.mark.mlflow]


def test_a_clock_that_jumps_by_hours_changes_nothing(
    launch: Callable[..., Any], new_study: Callable[..., Any], check_books: Callable[..., Any]
) -> None:
    study = new_study("jumps", trials=12)
    limits = ("sweep.trial_seconds=60", "sweep.budget_seconds=250")
    driver = launch(study, *limits, WINDROW_CHAOS_CLOCK="jumps")
    assert driver.wait(280) == 0, driver.tail()
    elapsed = time.monotonic() - driver.began
    result = json.loads(driver.result.read_text())
    assert check_books(study).total() == 12
    assert result["out_of_time"] is False
    assert 0 < result["seconds"] <= elapsed
    assert 0 < result["training_seconds"] <= 2 * elapsed  # two slots
    assert result["efficiency"]["idle_tail_seconds"] >= 0
    assert all(0 < entry.outcome.seconds <= elapsed for entry in study.entries())


def test_a_second_sweep_on_a_study_exits_with_2_and_names_the_first(
    launch: Callable[..., Any], new_study: Callable[..., Any], check_books: Callable[..., Any]
) -> None:
    study = new_study("shared", trials=60)
    first = launch(study)
    holder = study.folder / "lock"
    while not (holder.exists() and holder.read_text()):
        assert first.wait(0.1) is None, first.tail()
    (pid,) = (process.pid for process in first.victims()["driver"])
    second = launch(study)
    assert second.wait(280) == 2, second.tail()
    assert first.wait(280) == 0, first.tail()
    last = second.log.read_text().strip().splitlines()[-1]
    assert f"one sweep at a time may work in {study.folder}; process {pid} on " in last
    check_books(study)
