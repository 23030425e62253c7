"""The sensitivity design: two hyper-parameters alone, each point over several seeds, whatever is killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from windrow.errors import StudyError
from windrow.experiment import Experiment, parse
from windrow.experiment.parameters import Value
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.sampling.sensitivity_design import Design
from windrow.sweep.seeds import seed_of
from windrow.sweep.study import Study, open_study

TEXT = """
name: a
space:
  learning_rate: {type: float, low: 1e-4, high: 1e-2, log: true}
  units: {type: int, low: 8, high: 32, step: 8}
  layers: {type: int, low: 2, high: 3}
  momentum: {type: float, low: 0, high: 0.9, when: {optimizer: adam}}
sweep:
  sampler: sensitivity
  sensitivity: {parameters: [learning_rate, units], repeats: 3}
  trials: 13
"""


def page(more: str = "") -> Experiment:
    return parse(TEXT + more)


def advance(study: Study, most: int = 99) -> None:
    while most > 0 and (asked := study.ask()) is not None:
        study.settle(Outcome(asked.number, asked.attempt, Ending.OK, 0.5, lease=asked.token))
        most -= 1


def points(folder: Path, searched: Experiment, *parts: int) -> list[dict[str, Value]]:
    """The points of a study that was opened anew after each of `parts` trials."""
    for most in (*parts, 99):
        with open_study(folder, searched, "data") as study:
            advance(study, most)
            found = [entry.point for entry in study.entries()]
    return found


def test_each_point_is_trained_over_so_many_seeds_after_the_default_configuration(tmp_path: Path) -> None:
    default, *rest = points(tmp_path, page())
    assert default == {"learning_rate": 1e-3, "units": 64, "layers": 1, "momentum": 0.9}
    assert len(rest) == 12
    groups = [rest[start : start + 3] for start in range(0, 12, 3)]
    assert all(group[0] == group[1] == group[2] for group in groups)
    assert len({str(group[0]) for group in groups}) == 4
    assert len({seed_of(0, number) for number in range(13)}) == 13


def test_only_the_two_differ_and_all_else_keeps_its_default_also_outside_the_space(tmp_path: Path) -> None:
    _, *rest = points(tmp_path, page())
    assert all((point["layers"], point["momentum"]) == (1, 0.9) for point in rest)
    assert all(1e-4 <= float(point["learning_rate"]) <= 1e-2 for point in rest)
    assert {point["units"] for point in rest} <= {8, 16, 24, 32}


def test_the_plane_is_filled_evenly() -> None:
    design = Design(page().model_copy())
    rates = [float(design.point(3 * place)["learning_rate"]) for place in range(16)]
    assert sum(rate < 1e-3 for rate in rates) == 8, "Sobol's sequence has as many points in each half"


@pytest.mark.parametrize("parts", [(1,), (2, 3), (5, 1, 1)])
def test_a_study_that_was_cut_off_goes_on_with_the_same_points(tmp_path: Path, parts: tuple[int, ...]) -> None:
    assert points(tmp_path / "cut", page(), *parts) == points(tmp_path / "whole", page())


def test_a_small_space_is_not_exhausted_by_repeats(tmp_path: Path) -> None:
    small = (
        "name: a\nspace: {units: {type: int, low: 8, high: 16, step: 8}, layers: {type: int, low: 1, high: 2}}\n"
        "sweep: {sampler: sensitivity, trials: 20, sensitivity: {parameters: [units, layers], repeats: 2}}\n"
    )
    assert len(points(tmp_path, parse(small))) == 20


def test_points_keep_the_constraints(tmp_path: Path) -> None:
    _, *rest = points(tmp_path, page("constraints: [units * layers <= 16]\n"))
    assert {point["units"] for point in rest} <= {8, 16}


def test_constraints_that_leave_nothing_are_told(tmp_path: Path) -> None:
    with (
        pytest.raises(StudyError, match=r"must leave enough of learning_rate and units; 500 points .* units > 64"),
        open_study(tmp_path, page("constraints: [units > 64]\n"), "data") as study,
    ):
        advance(study)
