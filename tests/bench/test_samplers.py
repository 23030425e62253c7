"""What bench/samplers.py compares, on a small table that is made here: 4 depths, 8 rates, 3 kinds."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Script = Callable[[str], ModuleType]

CHOICES = {
    **{"depth_index": [1, 2, 3, 4], "width_index": [16, 32, 64, 128, 256, 512, 1024, 2048]},
    **{"alpha_index": [1e-8, 1e-4, 1e-2], "kind": ["relu", "tanh", "elu"]},
}


@pytest.fixture
def problem(script: Script) -> Callable[[str], Any]:
    """Make the table for a kind of search: better near (2, 5), cheaper with less depth and width."""
    keys = itertools.product(*map(range, map(len, CHOICES.values())))
    results = {
        key: (
            0.9 - 0.05 * abs(key[0] - 2) - 0.03 * abs(key[1] - 5) - 0.01 * key[2] + 0.02 * key[3],
            1.0 + key[0] + key[1],
        )
        for key in keys
    }
    numbers = frozenset(name for name in CHOICES if name != "kind")
    return lambda kind: script("published").Problem("hpobench/made", kind, CHOICES, numbers, results)


@pytest.mark.parametrize("kind", ["plain", "goals"])
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_with_the_same_seed_windrow_draws_the_points_that_optuna_draws(
    script: Script, problem: Callable[[str], Any], kind: str, sampler: str
) -> None:
    samplers = script("samplers")
    for seed in (1, 2):
        ways = [samplers.Way(tool, sampler) for tool in ("windrow", "optuna")]
        ours, theirs = (
            search(problem(kind), way, seed, 30)
            for search, way in zip((samplers.by_windrow, samplers.by_optuna), ways, strict=True)
        )
        assert ours == theirs
        assert len(ours) == 30


@pytest.mark.parametrize("kind", ["condition", "constraint"])
def test_both_search_the_same_points_where_some_are_excluded_or_switched_off(
    script: Script, problem: Callable[[str], Any], kind: str
) -> None:
    samplers, one = script("samplers"), problem(kind)
    for tool, search in (("windrow", samplers.by_windrow), ("optuna", samplers.by_optuna)):
        points = search(one, samplers.Way(tool, "tpe"), 1, 30)
        assert len(points) == 30
        assert all(one.result(point) in one.allowed for point in points)
        if kind == "constraint":
            assert all(point["width_index"] + 2 * point["depth_index"] <= 5 for point in points)
        else:
            assert all(("alpha_index" in point) == point["with_alpha"] for point in points)
            assert {point["with_alpha"] for point in points} == {True, False}


def test_a_constraint_leaves_a_part_of_the_points(problem: Callable[[str], Any]) -> None:
    assert len(problem("plain").allowed) == 4 * 8 * 3 * 3
    assert len(problem("constraint").allowed) == (6 + 4 + 2) * 3 * 3
    assert problem("constraint").excess({"width_index": 5, "depth_index": 1}) == 2


def test_regret_is_the_share_of_better_points(problem: Callable[[str], Any]) -> None:
    one = problem("plain")
    ranked = sorted((value for value, _ in one.allowed), reverse=True)
    assert one.regret([(ranked[0], 1.0)]) == 0
    better = sum(value > ranked[40] for value in ranked)
    assert one.regret([(ranked[-1], 1.0), (ranked[40], 9.0)]) == pytest.approx(1000 * better / len(ranked))


def test_the_hypervolume_is_the_area_that_the_front_dominates(problem: Callable[[str], Any]) -> None:
    one = problem("goals")
    most, worst = one.bounds
    assert most == pytest.approx(math.log(11))
    front = [(1 - worst + 0.2, 4.0), (1 - worst + 0.1, 2.0), (1 - worst + 0.05, 3.0)]  # the third is dominated
    area = 0.2 * math.log(11 / 4) + 0.1 * (math.log(11 / 2) - math.log(11 / 4))
    assert one.hypervolume(front) == pytest.approx(area)
    assert one.regret(one.allowed) == pytest.approx(0)
    assert replace(one, kind="goals, condition").regret([]) == pytest.approx(1000)


def test_windrow_is_compared_with_optuna_seed_by_seed(script: Script, tmp_path: Path) -> None:
    runs = tmp_path / "runs.jsonl"
    lines = [["hpobench/made", "plain", "windrow tpe", seed, [float(seed), 1.0]] for seed in (1, 2, 3)]
    lines += [["hpobench/made", "plain", "optuna tpe", seed, [seed + 2.0, 1.0]] for seed in (3, 2)]
    runs.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    tables = script("sampler_tables")
    tables.save(tmp_path / "out.json", tables.rows(runs), (25, 50))
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["pairs"] == [
        ["plain", "hpobench/made", "tpe", 25, 2, -2.0, 0.0, 0],
        ["plain", "hpobench/made", "tpe", 50, 2, 0.0, 0.0, 2],
    ]
    assert found["medians"][0] == ["plain", "hpobench/made", "windrow tpe", 3, 2.0, 1.0]
