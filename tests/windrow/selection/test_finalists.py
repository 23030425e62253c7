from __future__ import annotations

from pathlib import Path

import pytest
from windrow.data.manifest import Manifest
from windrow.errors import StudyError
from windrow.experiment import Experiment, parse, wording
from windrow.selection import finalists
from windrow.sweep.ledger import Entry
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.seeds import seed_of
from windrow.sweep.study import StudyRecord, open_study, read_study
from windrow.training.networks import Builder

PAGE = "name: a\nspace: {units: {type: int, low: 1, high: 99}}\npromotion: {seeds: 2}\n"
TRIALS = [
    Entry(number, {"units": number + 1}, number, Outcome(number, 1, Ending.OK, 0.9, seconds=1.0)) for number in (4, 7)
]


def test_each_finalist_is_trained_over_its_seeds_and_the_first_is_the_trials_own() -> None:
    page = parse(PAGE)
    dataset = Manifest("a", "digits", "d", (8, 8, 1), ("0", "1"), {}, {}, {})
    specs = finalists.specs(page, Builder("dense"), dataset, TRIALS)
    assert [(spec.number, spec.repeat) for spec in specs] == [(4, 1), (4, 2), (7, 1), (7, 2)]
    assert specs[0].seed == seed_of(page.sweep.seed, 4)
    assert len({spec.seed for spec in specs}) == 4
    assert all(spec.keep_network for spec in specs)
    assert specs[2].parameters["units"] == 8


def test_a_finalist_does_not_measure_again_what_its_network_costs() -> None:
    page = parse(PAGE + "sweep: {objectives: [val_accuracy, milliseconds]}\n")
    dataset = Manifest("a", "digits", "d", (8, 8, 1), ("0", "1"), {}, {}, {})
    assert page.sweep.cost == "milliseconds"
    assert {spec.cost for spec in finalists.specs(page, Builder("dense"), dataset, TRIALS)} == {None}


def study(folder: Path, page: Experiment, *endings: Ending) -> StudyRecord:
    """A study whose trials ended so; of the good ones, the later is the better."""
    with open_study(folder, page, "digest") as opened:
        for ending in endings:
            asked = opened.ask()
            assert asked is not None
            value = 0.5 + asked.number / 10 if ending is Ending.OK else None
            opened.settle(Outcome(asked.number, asked.attempt, ending, value, lease=asked.token))
    return read_study(folder, page, "digest")


def test_a_study_with_one_good_trial_has_one_finalist_and_its_default(tmp_path: Path) -> None:
    page = parse(PAGE)
    one = study(tmp_path, page, Ending.DIVERGED, Ending.OK)
    assert [trial.number for trial in finalists.best(page, one)] == [1]
    assert [trial.number for trial in finalists.default(one)] == [0]


def test_the_finalists_are_as_many_of_the_best_as_the_page_says_the_best_one_first(tmp_path: Path) -> None:
    page = parse(PAGE, ["promotion.finalists=2"])
    many = study(tmp_path, page, Ending.OK, Ending.OK, Ending.DIVERGED, Ending.OK)
    assert [trial.number for trial in finalists.best(page, many)] == [3, 1]


def test_half_of_the_finalists_are_the_best_of_each_way_to_fit_images(tmp_path: Path) -> None:
    page = parse(
        "name: a\ndataset: {source: photos}\nnetwork: {backbone: lite0}\n"
        "sweep: {sampler: random, trials: 40, objective: val_accuracy}\n"
    )
    many = study(tmp_path, page, *[Ending.OK] * 40)
    found = finalists.best(page, many)
    fits = [str(trial.point["fit"]) for trial in found]
    assert (fits.count("squash"), fits.count("crop")) == (3, 3)
    assert found[0].number == 39
    for fit in ("squash", "crop"):
        all_of_it = [trial.number for trial in many.ranked() if trial.point["fit"] == fit]
        assert [trial.number for trial in found if trial.point["fit"] == fit] == all_of_it[:3]
    assert found == sorted(found, key=lambda trial: -trial.number)
    one = page.promotion.model_copy(update={"finalists": 1})
    assert finalists.best(page.model_copy(update={"promotion": one}), many) == found[:1]


@pytest.mark.parametrize(
    ("endings", "told"),
    [
        ([], "no finished trial"),
        ([Ending.DIVERGED, Ending.DIVERGED], "2 diverged"),
        ([Ending.FAILED, Ending.DIVERGED], "1 failed, 1 diverged"),
    ],
)
def test_a_study_without_a_good_trial_is_refused_with_what_it_has(
    tmp_path: Path, endings: list[Ending], told: str
) -> None:
    page = parse(PAGE)
    with pytest.raises(StudyError, match=f"one trial that ended ok; .* has {told};"):
        finalists.best(page, study(tmp_path, page, *endings))


def test_a_point_reads_as_people_write_it() -> None:
    assert wording.point_text({"learning_rate": 0.00123456, "units": 64}) == "learning_rate=0.001235, units=64"
