"""What a rule takes, and how often a lead is off, of a record of one set as the bench keeps it."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

RECORD: dict[str, Any] = {
    "training": 80,
    "validation": 20,
    "candidates": [
        {"fit": "main", "place": 0, "losses": [0.52, 0.51, 0.50, 0.53, 0.52], "tested": [0.50, 0.80]},
        {"fit": "crop", "place": 0, "losses": [0.62, 0.61, 0.60, 0.63, 0.62], "tested": [0.60, 0.70]},
        {"fit": "main", "place": 3, "losses": [0.51, 0.51, 0.48, 0.51, 0.52], "tested": [0.40, 0.90]},
    ],
}
"""The finalist is ahead by 0.010 of the loss, with a standard deviation of 0.010 over five seeds."""


@pytest.fixture(scope="module")
def bench(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("promotion_rules")


@pytest.mark.parametrize(
    ("errors", "corrected", "taken"),
    [(math.inf, False, 0.8), (0.0, False, 0.9), (2, False, 0.9), (3, False, 0.8), (1, True, 0.9), (2, True, 0.8)],
)
def test_a_rule_takes_the_finalist_if_its_lead_is_large_enough(
    bench: ModuleType, errors: float, corrected: bool, taken: float
) -> None:
    assert bench.accuracy(RECORD, 5, errors, corrected) == taken


def test_a_finalist_that_is_behind_is_never_taken(bench: ModuleType) -> None:
    behind = {**RECORD, "candidates": [*RECORD["candidates"][:2], {**RECORD["candidates"][2], "losses": [0.6] * 5}]}
    assert bench.accuracy(behind, 5, 0.0, False) == 0.8


def test_a_lead_is_off_if_the_tested_one_is_further_away_than_its_error(bench: ModuleType) -> None:
    assert list(bench.off(RECORD, corrected=True)) == [True]
    same = {**RECORD["candidates"][2], "tested": [0.49, 0.81]}
    assert list(bench.off({**RECORD, "candidates": [*RECORD["candidates"][:2], same]}, False)) == [False]
