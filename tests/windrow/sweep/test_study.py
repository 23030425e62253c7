from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from windrow.errors import StudyError
from windrow.experiment import Experiment, parse
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.study import Asked, Study, open_study, read_study, seed_of

TEXT = """
name: a
space:
  learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}
  units: {type: int, low: 16, high: 128, log: true}
"""


def page(**sweep: Any) -> Experiment:
    return parse(TEXT, [f"sweep.{key}={value}" for key, value in sweep.items()])


def ok(asked: Asked, value: float) -> Outcome:
    return Outcome(asked.number, asked.attempt, Ending.OK, value, seconds=2.0, worker="host/1")


def take(study: Study) -> Asked:
    asked = study.ask()
    assert asked is not None
    return asked


def test_trial_0_is_the_default_configuration(tmp_path: Path) -> None:
    with open_study(tmp_path, page(), "data") as study:
        assert take(study).point == {"learning_rate": 1e-3, "units": 64}
        assert take(study).point != {"learning_rate": 1e-3, "units": 64}


def test_a_study_asks_for_as_many_trials_as_the_page_says(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=3), "data") as study:
        assert [take(study).number for _ in range(3)] == [0, 1, 2]
        assert study.ask() is None


def test_a_finished_study_goes_on_when_it_is_given_more_trials(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=2), "data") as study:
        for value in (0.5, 0.7):
            asked = take(study)
            study.tell(asked, ok(asked, value))
    with open_study(tmp_path, page(trials=3), "data") as study:
        assert take(study).number == 2
        assert study.ask() is None
        assert [trial.value for trial in study.finished()] == [0.5, 0.7]


def test_a_trial_that_was_cut_off_is_asked_for_again_with_the_same_point(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=3), "data") as study:
        first, second = take(study), take(study)
        study.tell(second, ok(second, 0.9))
    with open_study(tmp_path, page(trials=3), "data") as study:
        again = take(study)
        assert (again.number, again.point, again.attempt) == (first.number, first.point, 2)
        assert take(study).number == 2
        assert study.ask() is None


def test_a_trial_that_was_cut_off_while_it_was_being_asked_is_not_counted(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=2), "data") as study:
        study._study.ask()  # as a driver that dies before the point is drawn leaves it
    with open_study(tmp_path, page(trials=2), "data") as study:
        points = []
        while (asked := study.ask()) is not None:
            points.append(asked.point)
            study.tell(asked, ok(asked, 0.5))
        assert len(points) == 2
        assert len(study.finished()) == 2


def test_resumed_random_points_are_new_ones(tmp_path: Path) -> None:
    points = []
    for trials in (3, 6):
        with open_study(tmp_path, page(trials=trials, sampler="random"), "data") as study:
            while (asked := study.ask()) is not None:
                points.append(tuple(asked.point.values()))
                study.tell(asked, ok(asked, 0.5))
    assert len(set(points)) == 6


def test_every_ending_is_kept_and_only_good_trials_are_ranked(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=4), "data") as study:
        asked = [take(study) for _ in range(4)]
        study.tell(asked[0], ok(asked[0], 0.5))
        study.tell(asked[1], ok(asked[1], 0.8))
        study.tell(asked[2], Outcome(2, 1, Ending.DIVERGED, error="too fast"))
        study.tell(asked[3], Outcome(3, 1, Ending.FAILED, error="no luck"))
    study = read_study(tmp_path, page(trials=4), "data")
    assert [trial.ending for trial in study.finished()] == [Ending.OK, Ending.OK, Ending.DIVERGED, Ending.FAILED]
    assert [trial.number for trial in study.ranked()] == [1, 0]


def test_where_less_is_better_the_lowest_value_is_first(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=3, objective="val_loss"), "data") as study:
        for value in (0.5, 0.2, 0.9):
            asked = take(study)
            study.tell(asked, ok(asked, value))
        assert [trial.value for trial in study.ranked()] == [0.2, 0.5, 0.9]


def test_equal_trials_are_ranked_by_number(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=3), "data") as study:
        for value in (0.5, 0.9, 0.9):
            asked = take(study)
            study.tell(asked, ok(asked, value))
        assert [trial.number for trial in study.ranked()] == [1, 2, 0]


def test_a_grid_is_asked_for_once_though_the_page_wants_more(tmp_path: Path) -> None:
    grid = parse(
        "name: a\nspace: {units: {type: int, low: 8, high: 24, step: 8}, "
        "batch_norm: {type: categorical, choices: [true, false]}}\nsweep: {sampler: grid, trials: 50}\n"
    )
    points = set()
    with open_study(tmp_path, grid, "data") as study:
        while (asked := study.ask()) is not None:
            points.add(tuple(sorted(asked.point.items())))
            study.tell(asked, ok(asked, 0.5))
    assert len(points) == 6
    assert study.budget == 6


@pytest.mark.parametrize(("other", "digest"), [(page(epochs=11), "data"), (page(), "other data")])
def test_a_folder_with_another_study_is_refused(tmp_path: Path, other: Experiment, digest: str) -> None:
    with open_study(tmp_path, page(), "data"):
        pass
    with pytest.raises(StudyError, match=r"continues only with the same page and data.*take another folder"):
        open_study(tmp_path, other, digest).__enter__()


def test_a_second_sweep_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        open_study(tmp_path, page(), "data"),
        pytest.raises(StudyError, match="one sweep at a time"),
        open_study(tmp_path, page(), "data"),
    ):
        pytest.fail("two sweeps got in")


def test_a_folder_without_a_study_is_refused_for_reading(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"must hold a study.*run sweep\.py first"):
        read_study(tmp_path, page(), "data")


def test_facts_about_a_study_survive(tmp_path: Path) -> None:
    with open_study(tmp_path, page(), "data") as study:
        study.remember(run_id="r1")
        asked = take(study)
        assert study.note_run(asked, "first") is None
    with open_study(tmp_path, page(), "data") as study:
        assert study.identity["run_id"] == "r1"
        assert study.note_run(take(study), "second") == "first"


def test_seeds_depend_on_the_study_and_the_trial_only() -> None:
    assert seed_of(1, 2) == seed_of(1, 2)
    assert len({seed_of(study, number) for study in range(10) for number in range(100)}) == 1000
    assert all(0 <= seed_of(0, number) < 2**31 for number in range(100))
