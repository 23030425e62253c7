from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from windrow.errors import BuilderError, StudyError
from windrow.experiment import Experiment, parse
from windrow.sweep.ledger import Lease
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.sampling import samplers
from windrow.sweep.sampling.champion_point import ChampionRecord
from windrow.sweep.seeds import seed_of
from windrow.sweep.study import Study, open_study, read_study
from windrow.training import networks
from windrow.training.loop import Epoch

TEXT = """
name: a
space:
  learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}
  units: {type: int, low: 16, high: 128, log: true}
"""


def page(**sweep: Any) -> Experiment:
    return parse(TEXT, [f"sweep.{key}={value}" for key, value in sweep.items()])


def ended(asked: Lease, ending: Ending, value: float | None = None) -> Outcome:
    return Outcome(asked.number, asked.attempt, ending, value, seconds=2.0, worker="host/1", lease=asked.token)


def ok(asked: Lease, value: float) -> Outcome:
    return ended(asked, Ending.OK, value)


def measured(value: float) -> Epoch:
    return Epoch(1.0, 0.5, 1.0, value, 0.1)


def take(study: Study) -> Lease:
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
            study.settle(ok(asked, value))
    with open_study(tmp_path, page(trials=3), "data") as study:
        assert take(study).number == 2
        assert study.ask() is None
        assert [trial.value for trial in study.finished()] == [0.5, 0.7]


def test_a_trial_that_was_cut_off_is_asked_for_again_with_the_same_point(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=3), "data") as study:
        first, second = take(study), take(study)
        study.settle(ok(second, 0.9))
    with open_study(tmp_path, page(trials=3), "data") as study:
        again = take(study)
        assert (again.number, again.point, again.attempt) == (first.number, first.point, 2)
        assert take(study).number == 2
        assert study.ask() is None


def test_a_trial_that_was_cut_off_while_it_was_being_asked_is_not_counted(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=2), "data") as study:
        study._optuna._study.ask()  # as a driver that dies before the point is drawn leaves it
    with open_study(tmp_path, page(trials=2), "data") as study:
        points = []
        while (asked := study.ask()) is not None:
            points.append(asked.point)
            study.settle(ok(asked, 0.5))
        assert len(points) == 2
        assert len(study.finished()) == 2


def test_resumed_random_points_are_new_ones(tmp_path: Path) -> None:
    points = []
    for trials in (3, 6):
        with open_study(tmp_path, page(trials=trials, sampler="random"), "data") as study:
            while (asked := study.ask()) is not None:
                points.append(tuple(asked.point.values()))
                study.settle(ok(asked, 0.5))
    assert len(set(points)) == 6


def test_every_ending_is_kept_and_only_good_trials_are_ranked(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=4), "data") as study:
        asked = [take(study) for _ in range(4)]
        study.settle(ok(asked[0], 0.5))
        study.settle(ok(asked[1], 0.8))
        study.settle(ended(asked[2], Ending.DIVERGED))
        study.settle(ended(asked[3], Ending.FAILED))
    study = read_study(tmp_path, page(trials=4), "data")
    assert [trial.ending for trial in study.finished()] == [Ending.OK, Ending.OK, Ending.DIVERGED, Ending.FAILED]
    assert [trial.number for trial in study.ranked()] == [1, 0]


def test_where_less_is_better_the_lowest_value_is_first(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=3, objective="val_loss"), "data") as study:
        for value in (0.5, 0.2, 0.9):
            asked = take(study)
            study.settle(ok(asked, value))
        assert [trial.value for trial in study.ranked()] == [0.2, 0.5, 0.9]


def test_equal_trials_are_ranked_by_number(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=3), "data") as study:
        for value in (0.5, 0.9, 0.9):
            asked = take(study)
            study.settle(ok(asked, value))
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
            study.settle(ok(asked, 0.5))
    assert study.budget == len(points) == 7  # the default configuration, which is not on the grid, and the grid's six


@pytest.mark.parametrize(("other", "digest"), [(page(epochs=11), "data"), (page(), "other data")])
def test_a_folder_with_another_study_is_refused(tmp_path: Path, other: Experiment, digest: str) -> None:
    with open_study(tmp_path, page(), "data"):
        pass
    with pytest.raises(StudyError, match=r"continues only with the same page, network and data.*take another folder"):
        open_study(tmp_path, other, digest).__enter__()


def test_a_second_sweep_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        open_study(tmp_path, page(), "data"),
        pytest.raises(StudyError, match=rf"one sweep at a time .*process {os.getpid()} on .*, since .* UTC does; wait"),
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
        study.note_run(asked.number, "first")
    with open_study(tmp_path, page(), "data") as study:
        assert study.identity["run_id"] == "r1"
        assert study.entries()[0].run_id == "first"


def test_a_study_says_for_how_many_trials_it_was_opened_last(tmp_path: Path) -> None:
    for trials in (4, 6):
        with open_study(tmp_path, page(trials=trials), "data"):
            pass
        assert json.loads((tmp_path / "study.json").read_text())["trials"] == str(trials)


def test_seeds_depend_on_the_study_and_the_trial_only() -> None:
    assert seed_of(1, 2) == seed_of(1, 2)
    assert len({seed_of(study, number) for study in range(10) for number in range(100)}) == 1000
    assert all(0 <= seed_of(0, number) < 2**31 for number in range(100))


def optuna_trials(folder: Path, name: str = "a") -> list[Any]:
    """The study as anybody with Optuna reads it."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    return list(optuna.load_study(study_name=name, storage=storage).trials)


def test_an_outcome_that_comes_twice_or_late_changes_nothing(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=2), "data") as study:
        first = take(study)
        assert study.settle(ok(first, 0.5)) is not None
        assert study.settle(ok(first, 0.9)) is None
        second = take(study)
        study.settle(ended(second, Ending.LOST))
        again = take(study)
        assert (again.number, again.attempt, again.point) == (1, 2, second.point)
        assert study.settle(ok(second, 0.9)) is None
        study.settle(ok(again, 0.7))
        assert [trial.value for trial in study.finished()] == [0.5, 0.7]
        assert study.best is not None
        assert study.best.value == 0.7


def test_a_trial_is_lost_for_good_after_three_attempts(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=1), "data") as study:
        attempts = []
        while (asked := study.ask()) is not None:
            attempts.append(asked.attempt)
            study.settle(ended(asked, Ending.LOST))
        assert attempts == [1, 2, 3]
        assert study.endings == {Ending.LOST: 1}
    assert [trial.state.name for trial in optuna_trials(tmp_path)] == ["FAIL"]


def test_an_attempt_that_never_began_is_asked_again_and_costs_nothing(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=1), "data") as study:
        for _ in range(5):
            study.give_back(take(study))
        asked = take(study)
        study.settle(ended(asked, Ending.LOST))
        assert take(study).number == 0


def test_the_sampler_hears_of_each_ending_what_its_rule_says(tmp_path: Path) -> None:
    epochs = (Epoch(1.0, 0.5, 1.0, 0.25, 0.1), Epoch(0.9, 0.6, 0.9, 0.35, 0.1))
    endings = (Ending.OK, Ending.PRUNED, Ending.DIVERGED, Ending.TIMEOUT, Ending.OUT_OF_MEMORY, Ending.FAILED)
    with open_study(tmp_path, page(trials=len(endings)), "data") as study:
        for ending in endings:
            asked = take(study)
            value = 0.35 if ending is Ending.OK else None
            study.settle(replace(ended(asked, ending, value), epochs=epochs))
    known = [(trial.state.name, trial.value) for trial in optuna_trials(tmp_path)]
    assert known == [
        ("COMPLETE", 0.35),
        ("PRUNED", 0.35),
        ("PRUNED", None),
        ("PRUNED", 0.35),
        ("PRUNED", None),
        ("FAIL", None),
    ]


def test_a_point_that_was_drawn_and_not_written_down_is_trained_after_all(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=3, sampler="random"), "data") as study:
        study.settle(ok(take(study), 0.5))
        drawn = study._optuna.draw(1)[0]  # as a driver that dies before its ledger knows leaves it
    with open_study(tmp_path, page(trials=3, sampler="random"), "data") as study:
        asked = take(study)
        assert (asked.number, asked.point) == (1, drawn)
        assert take(study).number == 2
        assert study.ask() is None


def test_an_outcome_that_the_ledger_has_and_the_sampler_has_not_is_told_on_opening(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=2), "data") as study:
        asked = take(study)
        study.ledger.settle(ok(asked, 0.5))  # as a driver that dies right after leaves it
    assert optuna_trials(tmp_path)[0].state.name == "RUNNING"
    with open_study(tmp_path, page(trials=2), "data") as study:
        assert take(study).number == 1
    assert optuna_trials(tmp_path)[0].value == 0.5


def test_a_journal_whose_last_line_was_cut_off_is_mended(tmp_path: Path) -> None:
    with open_study(tmp_path, page(trials=3), "data") as study:
        study.settle(ok(take(study), 0.5))
    with (tmp_path / "journal.log").open("a") as journal:
        journal.write('{"op_code": 4, "worker')
    with open_study(tmp_path, page(trials=3), "data") as study:
        study.settle(ok(take(study), 0.6))
    with open_study(tmp_path, page(trials=3), "data") as study:
        assert [trial.value for trial in study.finished()] == [0.5, 0.6]


def test_a_killed_holder_of_the_journal_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Optuna's own lock is a link that a killed process leaves behind, and the next one waits half a minute for it."""
    with open_study(tmp_path, page(trials=2), "data") as study:
        study.settle(ok(take(study), 0.5))
    (tmp_path / "journal.log.lock").symlink_to(tmp_path / "journal.log")
    with open_study(tmp_path, page(trials=2), "data") as study:
        study.settle(ok(take(study), 0.6))
    assert (tmp_path / "journal.log.lock").is_symlink()  # nobody took it


def table(folder: Path, slots: int, kill_after: int | None = None, **sweep: Any) -> list[tuple[Any, ...]]:
    """Ask and settle with `slots` trials at once, in an order that depends on the slots; the study's table."""
    settings = page(trials=20, deterministic="true", generation=5, sampler="tpe", **sweep)
    settled = 0
    while True:
        with open_study(folder, settings, "data") as study:
            running: list[Lease] = []
            while settled != kill_after:
                while len(running) < slots and (asked := study.ask()) is not None:
                    running.append(asked)
                if not running:
                    return [(trial.number, tuple(trial.point.items()), trial.value) for trial in study.finished()]
                asked = running.pop(-1 if settled % 2 else 0)
                study.settle(ok(asked, float(asked.point["learning_rate"]) * float(asked.point["units"])))
                settled += 1
            kill_after = None


def test_a_deterministic_study_gives_the_same_table_on_any_number_of_slots(tmp_path: Path) -> None:
    tables = [table(tmp_path / str(slots), slots) for slots in (1, 2, 4, 7)]
    assert len(tables[0]) == 20
    assert all(other == tables[0] for other in tables[1:])


@pytest.mark.parametrize("kill_after", [1, 4, 7, 10, 13])
def test_a_deterministic_study_that_was_cut_off_gives_the_same_table(tmp_path: Path, kill_after: int) -> None:
    assert table(tmp_path / "cut", 3, kill_after) == table(tmp_path / "whole", 1)


def test_another_seed_gives_another_table(tmp_path: Path) -> None:
    assert table(tmp_path / "one", 1, seed=1) != table(tmp_path / "two", 1, seed=2)


def test_the_pages_own_points_come_right_after_the_default(tmp_path: Path) -> None:
    text = TEXT + "sweep:\n  trials: 4\n  points: [{learning_rate: 0.01}, {units: 32}, {units: 64}]\n"
    with open_study(tmp_path, parse(text), "data") as study:
        points = [take(study).point for _ in range(4)]
    assert points[:3] == [
        {"learning_rate": 1e-3, "units": 64},
        {"learning_rate": 0.01, "units": 64},
        {"learning_rate": 1e-3, "units": 32},
    ]
    assert points[3] not in points[:3]  # {units: 64} is the default again: it is not trained twice


def test_the_default_configuration_begins_a_search_of_heads_squashed_and_cropped(tmp_path: Path) -> None:
    page = parse(
        "name: heads\ndataset: {source: /photos}\nnetwork: {backbone: lite0}\n"
        "sweep: {sampler: random, trials: 4, points: [{units: 200}]}\n"
    )
    with open_study(tmp_path, page, "data") as study:
        points = [take(study).point for _ in range(4)]
    assert [point["fit"] for point in points[:3]] == ["squash", "squash", "crop"]
    assert points[1] == {**points[0], "units": 200}
    assert points[2] == {**points[0], "fit": "crop"}
    narrow = parse(
        "name: heads\ndataset: {source: /photos}\nnetwork: {backbone: lite0}\n"
        "constraints: [\"fit == 'squash'\"]\nsweep: {sampler: random, trials: 9}\n"
    )
    with open_study(tmp_path / "narrow", narrow, "data") as study:
        assert {take(study).point["fit"] for _ in range(9)} == {"squash"}


def test_a_default_outside_the_space_is_trial_0_all_the_same_and_teaches_the_sampler_nothing(tmp_path: Path) -> None:
    text = "name: a\nspace: {units: {type: int, low: 8, high: 24}}\nsweep: {trials: 2, sampler: random}\n"
    with open_study(tmp_path, parse(text), "data") as study:
        default = take(study)
        assert default.point == {"units": 64}
        study.settle(ok(default, 0.9))
        assert 8 <= int(take(study).point["units"]) <= 24
        assert study.ranked()[0].number == 0
    assert optuna_trials(tmp_path)[0].state.name == "FAIL"


def test_a_space_with_one_point_is_trained_once_though_the_page_wants_50(tmp_path: Path) -> None:
    text = "name: a\nspace: {units: {type: int, low: 64, high: 64}}\nsweep: {trials: 50}\n"
    with open_study(tmp_path, parse(text), "data") as study:
        study.settle(ok(take(study), 0.5))
        assert study.ask() is None
    with open_study(tmp_path, parse(text), "data") as study:
        assert study.ask() is None


def test_conditions_and_constraints_hold_for_every_point(tmp_path: Path) -> None:
    text = (
        "name: a\nspace:\n  optimizer: {type: categorical, choices: [adam, sgd]}\n"
        "  momentum: {type: float, low: 0.5, high: 0.9, when: {optimizer: sgd}}\n"
        "  units: {type: int, low: 16, high: 128}\n  layers: {type: int, low: 1, high: 4}\n"
        "constraints: [units * layers <= 128]\nsweep: {trials: 40, sampler: random}\n"
    )
    with open_study(tmp_path, parse(text), "data") as study:
        points = [take(study).point for _ in range(40)]
    assert all(("momentum" in point) == (point["optimizer"] == "sgd") for point in points)
    assert all(int(point["units"]) * int(point["layers"]) <= 128 for point in points)


NEAR_AN_EDGE = """
name: a
space: {width: {type: int, low: 0, high: 7}, depth: {type: int, low: 0, high: 3}, kind: {type: int, low: 0, high: 2}}
network: {builder: "mine.py:build"}
constraints: [width + 2 * depth <= 5]
"""


@pytest.mark.parametrize("more", ["", ", objectives: [val_accuracy, weights]", ", deterministic: true"])
def test_the_sampler_learns_which_points_a_constraint_excludes(tmp_path: Path, more: str) -> None:
    """The best of all points, (5, 2), is excluded; a sampler that does not learn this draws it again and again."""
    with open_study(tmp_path, parse(NEAR_AN_EDGE + f"sweep: {{trials: 60, seed: 1{more}}}\n"), "data") as study:
        while (asked := study.ask()) is not None:
            width, depth = int(asked.point["width"]), int(asked.point["depth"])
            assert width + 2 * depth <= 5
            value = 0.9 - 0.05 * abs(depth - 2) - 0.03 * abs(width - 5)
            study.settle(replace(ok(asked, value), epochs=(two_goals(value, 1 + width + depth),)))
        assert len(study.finished()) == 60
    drawn = optuna_trials(tmp_path)
    assert len(drawn) < 3 * 60, "about three of five random points are excluded"
    assert [trial.state.name for trial in drawn if trial.constraints] == ["PRUNED"] * sum(
        trial.state.name == "PRUNED" for trial in drawn
    )


def test_random_points_follow_where_a_sampler_draws_only_excluded_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.samplers import PartialFixedSampler, RandomSampler

    stubborn = PartialFixedSampler({"width": 7}, RandomSampler(seed=1))
    monkeypatch.setitem(samplers.SAMPLERS, "tpe", lambda *_: stubborn)
    with open_study(tmp_path, parse(NEAR_AN_EDGE + "sweep: {trials: 8}\n"), "data") as study:
        while (asked := study.ask()) is not None:
            study.settle(ok(asked, 0.5))
        assert len(study.finished()) == 8
        assert len({tuple(trial.point.items()) for trial in study.finished()}) > 4


def test_constraints_that_leave_next_to_nothing_are_told(tmp_path: Path) -> None:
    text = TEXT + "constraints: [units + learning_rate * 0 == 64 and learning_rate == 0.001]\nsweep: {trials: 3}\n"
    with open_study(tmp_path, parse(text), "data") as study:
        take(study)
        with pytest.raises(StudyError, match=r"must leave enough of the space; 500 points in a row broke.*loosen them"):
            study.ask()


def test_a_warm_study_knows_the_good_trials_of_an_earlier_one(tmp_path: Path) -> None:
    with open_study(tmp_path / "old", page(trials=15), "data") as old:
        while (asked := old.ask()) is not None:
            old.settle(ok(asked, float(asked.point["units"])))
    warm = page(trials=2, warm_start=str(tmp_path / "old"))
    with open_study(tmp_path / "new", warm, "other data") as study:
        first = take(study)
        assert (first.number, first.point) == (0, {"learning_rate": 1e-3, "units": 64})
        assert study.finished() == []
    known = [trial.state.name for trial in optuna_trials(tmp_path / "new")]
    assert known == ["COMPLETE"] * 15 + ["RUNNING"]


def test_a_warm_study_learns_nothing_from_trials_that_its_page_forbids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "name: a\nspace: {units: {type: int, low: 8, high: 64}, layers: {type: int, low: 1, high: 4}}\n"
    with open_study(tmp_path / "old", parse(text + "sweep: {trials: 20, sampler: random}\n"), "data") as old:
        while (asked := old.ask()) is not None:
            old.settle(ok(asked, 0.5))
        points = [entry.point for entry in old.finished()]
    assert capsys.readouterr().err == ""
    warm = f"sweep: {{trials: 2, warm_start: {tmp_path / 'old'}}}\n"
    narrow = text.replace("low: 8", "low: 16") + "constraints: [units * layers <= 100]\n"
    with open_study(tmp_path / "new", parse(narrow + warm), "data"):
        pass
    inside = [point for point in points if int(point["units"]) >= 16]
    legal = [point for point in inside if int(point["units"]) * int(point["layers"]) <= 100]
    assert 0 < len(legal) < len(inside) < 20
    assert [trial.params for trial in optuna_trials(tmp_path / "new")] == legal
    said = f"learns from {len(legal)} of 20 earlier trials: {20 - len(inside)} outside the space, "
    assert said + f"{len(inside) - len(legal)} break a constraint" in capsys.readouterr().err
    with pytest.raises(StudyError, match=r"got .* with 20 trials that ended ok: 0 outside the space, 20 break a const"):
        open_study(tmp_path / "no", parse(text + "constraints: [units > 64]\n" + warm), "data").__enter__()


def test_a_warm_start_from_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"must be the folder of a study; got .*name the --study"):
        open_study(tmp_path / "new", page(warm_start=str(tmp_path / "none")), "data").__enter__()
    with open_study(tmp_path / "loss", page(trials=1, objective="val_loss"), "data") as old:
        old.settle(ok(take(old), 0.5))
    with pytest.raises(StudyError, match="must be a study with the same objective, val_accuracy"):
        open_study(tmp_path / "new2", page(warm_start=str(tmp_path / "loss")), "data").__enter__()
    small = parse("name: a\nspace: {units: {type: int, low: 1, high: 3}}\nsweep: {trials: 1}\n")
    with open_study(tmp_path / "small", small, "data") as old:
        old.settle(ok(take(old), 0.5))
    with pytest.raises(StudyError, match="must be a study with a compatible space"):
        open_study(tmp_path / "new3", page(warm_start=str(tmp_path / "small")), "data").__enter__()


CHAMPION = ChampionRecord("a", "7", "dense", {"learning_rate": 0.02, "units": 100, "dropout": 0.0, "momentum": 0.5})


def test_a_study_tries_the_champion_after_the_default_configuration_and_knows_it_when_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = page(trials=3, warm_start="champion", points="[{units: 20}]")
    with open_study(tmp_path, wanted, "data") as study:
        assert study.wants_champion
        study.try_champion(CHAMPION)
        assert take(study).point == {"learning_rate": 1e-3, "units": 64}
    assert "version 7, is among the first trials, with this page's momentum 0.9 in place" in capsys.readouterr().err
    with open_study(tmp_path, wanted, "data") as study:
        assert not study.wants_champion
        assert [take(study).point["units"] for _ in range(3)] == [64, 100, 20]
        assert study.ask() is None


def test_a_study_that_began_without_a_champion_goes_on_without_one(tmp_path: Path) -> None:
    points = []
    for folder, more in (("cut", {}), ("cut", {"schedule": "0 1 * * sun"}), ("whole", {})):
        with open_study(tmp_path / folder, page(trials=3, sampler="quasi_random", **more), "data") as study:
            assert not (study.wants_champion and len(study.ledger))
            points.append([take(study).point for _ in range(1 if not points else 3)])
    assert points[1] == points[2]


def test_the_champions_point_is_the_first_of_a_grid(tmp_path: Path) -> None:
    text = "name: a\nspace: {units: {type: int, low: 8, high: 24, step: 8}}\n"
    grid = parse(text + "sweep: {sampler: grid, trials: 50, warm_start: champion}\n")
    with open_study(tmp_path, grid, "data") as study:
        study.try_champion(ChampionRecord("a", "1", "dense", {"units": 20}))  # no point of the grid
        assert study.champion is not None
        assert study.champion.point is None
        study.try_champion(ChampionRecord("a", "2", "dense", {"units": 16}))
        units = [take(study).point["units"] for _ in range(4)]
        assert study.ask() is None
    assert (units[:2], sorted(units[2:])) == ([64, 16], [8, 24])


def two_goals(value: float, weights: float) -> Epoch:
    return replace(measured(value), weights=weights)


def test_a_study_of_two_goals_prunes_what_is_dominated_and_knows_after_a_restart_what_others_reached(
    tmp_path: Path,
) -> None:
    wanted = page(trials=6, objectives="[val_accuracy, weights]", pruner="asha", sampler="random", epochs=5)
    with open_study(tmp_path, wanted, "data") as study:
        first, second = take(study), take(study)
        assert not study.report(first.number, 1, two_goals(0.8, 100))
        assert not study.report(second.number, 1, two_goals(0.7, 50))
        epochs = (two_goals(0.8, 100), two_goals(0.85, 100))
        study.settle(replace(ok(first, 0.85), epochs=epochs))
        study.settle(replace(ok(second, 0.7), epochs=(two_goals(0.7, 50),)))
        assert [trial.number for trial in study.front()] == [0, 1]
    with open_study(tmp_path, wanted, "data") as study:
        third = take(study)
        assert study.report(third.number, 1, two_goals(0.75, 100))
        study.settle(replace(ended(third, Ending.PRUNED), epochs=(two_goals(0.75, 100),)))
        fourth = take(study)
        study.settle(replace(ended(fourth, Ending.DIVERGED), epochs=(two_goals(float("nan"), 10),)))
        study.settle(ended(take(study), Ending.FAILED))
    assert [(trial.state.name, trial.values) for trial in optuna_trials(tmp_path)] == [
        *(("COMPLETE", [0.85, 100.0]), ("COMPLETE", [0.7, 50.0]), ("COMPLETE", [0.75, 100.0])),
        *(("COMPLETE", [0.0, 10.0]), ("FAIL", None)),
    ]


def test_a_diverged_trial_of_two_goals_is_told_with_the_highest_loss_of_all(tmp_path: Path) -> None:
    wanted = page(trials=4, objectives="[val_loss, weights]", sampler="random")
    with open_study(tmp_path, wanted, "data") as study:
        for value, weights in ((math.nan, 5), (3.0, 10), (1.0, 20), (math.nan, 30)):
            asked, epochs = take(study), (replace(measured(0.5), val_loss=value, weights=weights),)
            outcome = ended(asked, Ending.DIVERGED) if math.isnan(value) else ok(asked, value)
            study.settle(replace(outcome, epochs=epochs))
    told = [trial.values for trial in optuna_trials(tmp_path)]
    assert told == [None, [3.0, 10.0], [1.0, 20.0], [3.0, 30.0]]


def test_a_study_of_two_goals_from_before_the_pruners_first_decision_was_kept_goes_on(tmp_path: Path) -> None:
    wanted = page(trials=6, objectives="[val_accuracy, weights]", pruner="asha", sampler="random", epochs=30)
    with open_study(tmp_path, wanted, "data") as study:
        del study.identity["prune_from"]
        study.remember()
    with open_study(tmp_path, wanted, "data") as study:
        assert not study.report(take(study).number, 1, two_goals(0.8, 100))
        assert study.report(take(study).number, 1, two_goals(0.7, 100))


@pytest.mark.parametrize("sampler", ["tpe", "random", "quasi_random", "grid"])
def test_samplers_take_two_goals(tmp_path: Path, sampler: str) -> None:
    text = "name: a\nspace: {units: {type: int, low: 1, high: 64}}\n"
    wanted = parse(text + f"sweep: {{sampler: {sampler}, trials: 40, objectives: [val_accuracy, weights]}}\n")
    with open_study(tmp_path, wanted, "data") as study:
        while (asked := study.ask()) is not None:
            units = int(asked.point["units"])
            study.settle(replace(ok(asked, 1 - 1 / units), epochs=(two_goals(0.5, units),)))
        assert len(study.front()) == len({trial.point["units"] for trial in study.finished()})


def test_a_study_of_one_goal_draws_what_it_drew_before_there_were_two(tmp_path: Path) -> None:
    """The points are those of the version of 2026-11-27, with every fourth trial pruned."""
    with open_study(tmp_path, page(trials=24), "data") as study:
        while (asked := study.ask()) is not None:
            value = abs(int(asked.point["units"]) - 40) / 100
            study.settle(ended(asked, Ending.PRUNED) if asked.number % 4 == 3 else ok(asked, value))
        drawn = [trial.point["units"] for trial in study.finished()]
    assert drawn == [
        *(64, 53, 38, 32, 24, 62, 32, 87, 28, 25, 52, 68, 121, 125, 121, 126, 127, 123, 126, 90, 126, 95, 127, 71),
    ]


@pytest.mark.parametrize("more", ["", ", objectives: [val_accuracy, weights]", ", deterministic: true, generation: 10"])
@pytest.mark.parametrize("condition", ["", ", when: {layers: [2, 3]}"])
@pytest.mark.parametrize("seed", [0, 1])
def test_points_that_several_slots_get_at_once_are_no_copies_of_each_other(
    tmp_path: Path, seed: int, condition: str, more: str
) -> None:
    """Optuna's sampler without constant_liar draws one to six different ones here, bench/batches.py says how near."""
    text = (
        "name: a\nspace: {units: {type: int, low: 1, high: 32}, layers: {type: int, low: 1, high: 4}, "
        f"batch_norm: {{type: categorical, choices: [true, false]{condition}}}}}\n"
        f"sweep: {{trials: 60, seed: {seed}{more}}}\n"
    )
    with warnings.catch_warnings(), open_study(tmp_path, parse(text), "data") as study:
        warnings.simplefilter("error")  # a library's would be on a user's screen at each trial
        for _ in range(40):
            asked = take(study)
            units, layers = int(asked.point["units"]), int(asked.point["layers"])
            value = 1 - abs(units - 20) / 64 - abs(layers - 2) / 8
            study.settle(replace(ok(asked, value), epochs=(two_goals(value, units * layers),)))
        drawn = [take(study).point for _ in range(8)]
    different = [point for place, point in enumerate(drawn) if point not in drawn[:place]]
    assert len(different) >= 7


def test_another_network_file_is_another_study(tmp_path: Path) -> None:
    with open_study(tmp_path, page(), "data", "def build(): ..."):
        pass
    with pytest.raises(StudyError, match="has another network file"):
        open_study(tmp_path, page(), "data", "def build(): pass").__enter__()


@pytest.mark.parametrize(
    "key",
    [
        "network.builder=cnn",
        "network.parameters.batch_norm=true",
        "space.batch_norm={type: categorical, choices: [true, false]}",
    ],
)
def test_a_study_of_built_in_networks_that_train_differently_now_can_be_read_but_does_not_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    normalized = parse(TEXT, [key])
    with monkeypatch.context() as before:
        before.setattr(networks, "REVISION", 1)  # study.json then has no revision, as that of an older Windrow
        with open_study(tmp_path / "old", normalized, "data") as study:
            study.settle(ok(take(study), 0.5))
    with pytest.raises(StudyError, match=r"has another revision of the built-in networks; take another folder"):
        open_study(tmp_path / "old", normalized, "data").__enter__()
    record = read_study(tmp_path / "old", normalized, "data")
    assert [trial.value for trial in record.ranked()] == [0.5]
    for _ in range(2):
        with open_study(tmp_path / "new", normalized, "data") as study:
            assert study.id != record.id


@pytest.mark.parametrize("keys", [[], ["network.parameters.dropout=0.2"]])
def test_a_study_of_heads_from_before_their_dropout_changed_can_be_read_but_does_not_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: list[str]
) -> None:
    heads = parse("name: heads\ndataset: {source: /photos}\nnetwork: {backbone: lite0}\n", keys)
    assert networks.revision(heads) == 2
    with monkeypatch.context() as before:
        before.setattr(networks, "HEAD_REVISION", 1)
        with open_study(tmp_path, heads, "data") as study:
            study.settle(ok(take(study), 0.5))
    with pytest.raises(StudyError, match=r"has another revision of the built-in networks; take another folder"):
        open_study(tmp_path, heads, "data").__enter__()
    assert [trial.value for trial in read_study(tmp_path, heads, "data").ranked()] == [0.5]


@pytest.mark.parametrize("key", ["network.parameters.batch_norm=false", "network.builder=mine.py:build"])
def test_a_study_of_networks_that_train_as_before_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    settings = parse(TEXT, [key])
    with monkeypatch.context() as before:
        before.setattr(networks, "REVISION", 1)
        with open_study(tmp_path, settings, "data") as study:
            began = study.id
    with open_study(tmp_path, settings, "data") as study:
        assert study.id == began


@pytest.mark.parametrize("pruner", ["asha", "median"])
def test_a_pruner_stops_the_worse_trials_and_not_the_best(tmp_path: Path, pruner: str) -> None:
    with open_study(tmp_path, page(trials=20, pruner=pruner, epochs=9), "data") as study:
        stopped = []
        for _ in range(20):
            asked = take(study)
            good = asked.number % 5 == 0
            value = 0.9 if good else 0.1 - asked.number / 1000
            stop = any(study.report(asked.number, epoch, measured(value)) for epoch in range(1, 10))
            stopped.append((good, stop))
            study.settle(ended(asked, Ending.PRUNED) if stop else ok(asked, value))
    assert sum(stop for good, stop in stopped if not good) >= 10
    assert not any(stop for good, stop in stopped if good)


@pytest.mark.parametrize("pruner", ["asha", "median"])
def test_an_older_study_goes_on_with_a_pruner_that_decides_from_the_first_epoch_on(tmp_path: Path, pruner: str) -> None:
    settings = page(trials=20, pruner=pruner, epochs=10)

    def stopped_after(study: Study) -> set[int]:
        epochs = set()
        for number in range(8):
            asked = take(study)
            value = 0.9 - number / 10  # each is worse than all before it
            last = next((epoch for epoch in range(1, 11) if study.report(asked.number, epoch, measured(value))), 10)
            epochs.add(last)
            study.settle(ended(asked, Ending.PRUNED) if last < 10 else ok(asked, value))
        return epochs - {10}

    with open_study(tmp_path / "new", settings, "data") as study:
        assert stopped_after(study) == {4}, "after a third of the epochs"
    with open_study(tmp_path / "old", settings, "data") as study:
        del study.identity["prune_from"]  # as an older Windrow wrote it
        study.remember()
    with open_study(tmp_path / "old", settings, "data") as study:
        assert stopped_after(study) == {1}


@pytest.mark.parametrize("pruner", ["asha", "median"])
def test_the_default_configuration_outside_the_space_is_trained_to_its_end(tmp_path: Path, pruner: str) -> None:
    text = TEXT.replace("low: 1e-4", "low: 1e-2") + f"sweep: {{trials: 2, epochs: 9, pruner: {pruner}}}\n"
    with open_study(tmp_path, parse(text), "data") as study:
        default, other = take(study), take(study)
        study.report(other.number, 1, measured(0.9))
        assert not any(study.report(default.number, epoch, measured(0.1)) for epoch in range(1, 10))
        study.settle(ok(default, 0.1))
    assert study.ranked()[0].number == default.number


def test_without_a_pruner_nothing_is_stopped(tmp_path: Path) -> None:
    with open_study(tmp_path, page(epochs=9), "data") as study:
        asked = [take(study) for _ in range(3)]
        assert not any(study.report(one.number, epoch, measured(0.0)) for one in asked for epoch in range(1, 10))


def test_a_disk_that_fills_in_the_middle_costs_nothing_that_was_told(tmp_path: Path) -> None:
    """The size limit of a process stands in for the disk's. When there is room again, the study goes on."""
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom windrow.experiment import parse\n"
        "from windrow.sweep.outcomes import Ending, Outcome\nfrom windrow.sweep.study import open_study\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "with open_study(Path(sys.argv[1]), parse(sys.argv[2]), 'data') as study:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (800_000, 800_000))\n"
        "    while (asked := study.ask()) is not None:\n"
        "        settled = study.settle(Outcome(asked.number, 1, Ending.OK, 0.5, lease=asked.token))\n"
        "        print(asked.number, flush=True)\n"
    )
    text = TEXT + "sweep: {trials: 3000, sampler: random}\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path), text]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert told.returncode == 1
    numbers = [int(line) for line in told.stdout.split()]
    assert len(numbers) > 3
    with open_study(tmp_path, parse(text), "data") as study:
        assert {trial.number for trial in study.finished()} >= set(numbers)
        for _ in range(3):
            study.settle(ok(take(study), 0.6))
    assert len(optuna_trials(tmp_path)) >= len(numbers) + 3


def fail_in(folder: Path, trials: int) -> None:
    """A study that ends with its builder's mistake after so many trials were drawn."""
    with suppress(BuilderError), open_study(folder, page(), "data", "def build(): wrong") as study:
        for _ in range(trials):
            take(study)
        raise BuilderError("mine.py can't be used")


def test_a_network_that_can_not_be_used_leaves_the_folder_to_a_corrected_one(tmp_path: Path) -> None:
    fail_in(tmp_path, trials=0)
    with open_study(tmp_path, page(objective="val_loss"), "data", "def build(): right") as study:
        assert take(study).number == 0


def test_a_network_that_fails_after_a_trial_was_drawn_keeps_its_study(tmp_path: Path) -> None:
    fail_in(tmp_path, trials=1)
    with pytest.raises(StudyError, match="another network file"), open_study(tmp_path, page(), "data", "else"):
        pass
