"""Which trials of a search for two goals stop early, by the rule that docs/sweep.md gives."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from windrow.experiment import SweepSection
from windrow.sweep.goals.rungs import PASSING, Rungs

SWEEP = SweepSection(objectives=("val_accuracy", "weights"), pruner="asha", epochs=20)


def test_trials_are_judged_at_the_rungs_only_and_never_after_the_last_epoch() -> None:
    for first, epochs, expected in ((1, 20, [1, 2, 4, 8, 16]), (3, 20, [3, 6, 12]), (3, 12, [3, 6]), (5, 5, [])):
        rungs = Rungs(SWEEP.model_copy(update={"epochs": epochs}), first)
        stopped = [
            epoch
            for epoch in range(1, epochs + 1)
            if (rungs.reach(0, epoch, 0.9, 10), rungs.reach(1, epoch, 0.1, 10))[1]
        ]
        assert stopped == expected


def test_a_trial_stops_where_a_better_one_costs_no_more() -> None:
    rungs = Rungs(SWEEP)
    assert not rungs.reach(0, 1, 0.8, 100)
    assert rungs.reach(1, 1, 0.7, 100)
    assert rungs.reach(2, 1, 0.7, 200)
    assert not rungs.reach(3, 1, 0.7, 99)
    assert not rungs.reach(4, 1, 0.8, 200), "an equal value is not worse"


def test_a_quarter_of_those_that_cost_no_more_goes_on() -> None:
    rungs = Rungs(SWEEP)
    for trial in range(8):
        rungs.reach(trial, 1, 0.9 - trial / 100, 10)
    assert not rungs.reach(8, 1, 0.885, 20)  # the third of nine
    assert rungs.reach(9, 1, 0.865, 20)


def test_no_trial_that_nothing_dominates_is_stopped_whatever_has_run_before() -> None:
    draw = np.random.default_rng(3)
    for direction, cost in product(("val_accuracy", "val_loss"), ("weights", "milliseconds")):
        sweep = SweepSection(objectives=(direction, cost), pruner="asha", epochs=20)
        rungs, known = Rungs(sweep), list[tuple[float, float]]()
        sign = 1 if direction == "val_accuracy" else -1
        for trial in range(300):
            value, price = float(draw.random()), float(draw.integers(1, 50))
            dominated = any(sign * other > sign * value and spent <= price * 1.05 for other, spent in known)
            assert dominated or not rungs.reach(trial, 1, value, price)
            if dominated:
                rungs.reach(trial, 1, value, price)
            known.append((value, price))


def test_at_most_a_quarter_and_the_front_go_on() -> None:
    draw, rungs, kept = np.random.default_rng(0), Rungs(SWEEP), 0
    for trial in range(400):
        kept += not rungs.reach(trial, 1, float(draw.random()), float(draw.random()))
    assert kept / 400 < 1 / PASSING + 0.08


def test_times_that_differ_by_less_than_5_percent_are_alike() -> None:
    for cost, stops in (("milliseconds", True), ("weights", False)):
        rungs = Rungs(SweepSection(objectives=("val_accuracy", cost), pruner="asha"))
        rungs.reach(0, 1, 0.8, 1.04)
        assert rungs.reach(1, 1, 0.7, 1.0) is stops


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_decides_nothing(value: float) -> None:
    rungs = Rungs(SWEEP)
    assert not rungs.reach(0, 1, value, 1)
    assert not rungs.reach(1, 1, 0.1, 1)


def test_another_attempt_at_a_trial_replaces_the_first() -> None:
    rungs = Rungs(SWEEP)
    rungs.reach(0, 1, 0.9, 10)
    rungs.reach(0, 1, 0.2, 10)
    assert not rungs.reach(1, 1, 0.5, 10)
