"""The figures of bench/two_goals.py: whatever the first goal is, less error and less cost dominate more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from windrow.experiment import parse
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.study import open_study
from windrow.training.loop import Epoch

Script = Callable[[str], ModuleType]

TEXT = (
    "name: a\nspace: {units: {type: int, low: 1, high: 64}}\nsweep: {trials: 4, epochs: 2, objectives: [GOAL, weights]}"
)


def swept(folder: Path, goal: str, *trials: tuple[float, float]) -> Path:
    """A study of trials with these values and weights."""
    with open_study(folder, parse(TEXT.replace("GOAL", goal)), "data") as study:
        for value, weights in trials:
            lease = study.ask()
            assert lease is not None
            epoch = replace(Epoch(1.0, 0.5, 1.0, 0.5, 0.1, weights=weights), **{goal: value})
            study.settle(Outcome(lease.number, 1, Ending.OK, value, (epoch, epoch), lease=lease.token))
    return folder


@pytest.mark.parametrize(("goal", "values"), [("val_accuracy", (0.5, 0.75, 0.9)), ("val_loss", (0.5, 0.25, 0.1))])
def test_the_area_is_that_of_less_error_and_less_cost(
    tmp_path: Path, script: Script, goal: str, values: tuple[float, ...]
) -> None:
    two_goals = script("two_goals")
    curves, sweep = two_goals.read(swept(tmp_path, goal, *zip(values, (10, 100, 1000), strict=True)))
    assert sweep.objective == goal
    points = [curve.point for curve in curves]
    assert two_goals.hypervolume(points, curves) == pytest.approx(1 * 0.25)  # the one in the middle, to both worst
    assert two_goals.hypervolume([*points, *points], curves) == two_goals.hypervolume(points, curves)
    assert two_goals.hypervolume([], curves) == 0.0


@pytest.mark.parametrize("trials", [[], [(0.5, 10.0)], [(0.5, 10.0), (0.9, 100.0)], [(0.5, 10.0)] * 3])
def test_a_study_without_an_area_ends_in_words(
    tmp_path: Path, script: Script, trials: list[tuple[float, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["two_goals.py", str(swept(tmp_path, "val_accuracy", *trials))])
    with pytest.raises(SystemExit, match=r"got none in|too few trials"):
        script("two_goals").main()
