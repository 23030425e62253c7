from __future__ import annotations

import pytest
from windrow.data.manifest import Manifest
from windrow.errors import StudyError
from windrow.experiment import parse
from windrow.selection import finalists
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.seeds import seed_of
from windrow.sweep.study import Finished
from windrow.training.networks import Builder

PAGE = "name: a\nspace: {units: {type: int, low: 1, high: 99}}\npromotion: {seeds: 2}\n"
TRIALS = [Finished(number, {"units": number + 1}, Ending.OK, 0.9, 1.0, "") for number in (4, 7)]


def trained(number: int, attempt: int, value: float | None) -> Outcome:
    ending = Ending.OK if value is not None else Ending.DIVERGED
    network = f"{number}/{attempt}".encode() if value is not None else None
    return Outcome(number, attempt, ending, value, network=network)


def test_each_finalist_is_trained_over_its_seeds_and_the_first_is_the_trials_own() -> None:
    page = parse(PAGE)
    dataset = Manifest("a", "digits", "d", (8, 8, 1), ("0", "1"), {}, {}, {})
    specs = finalists.specs(page, Builder("dense"), dataset, TRIALS)
    assert [(spec.number, spec.attempt) for spec in specs] == [(4, 1), (4, 2), (7, 1), (7, 2)]
    assert specs[0].seed == seed_of(page.sweep.seed, 4)
    assert len({spec.seed for spec in specs}) == 4
    assert all(spec.keep_network for spec in specs)
    assert specs[2].parameters["units"] == 8


def test_the_best_mean_wins_and_its_best_seed_is_the_network() -> None:
    outcomes = [trained(4, 1, 0.80), trained(7, 1, 0.70), trained(4, 2, 0.82), trained(7, 2, 0.99)]
    first, second = finalists.rank(parse(PAGE), TRIALS, outcomes)
    assert (first.trial.number, first.network, first.values) == (7, b"7/2", (0.99, 0.70))
    assert first.value == pytest.approx(0.845)
    assert second.trial.number == 4


def test_where_less_is_better_the_lowest_loss_wins() -> None:
    page = parse(PAGE, ["sweep.objective=val_loss"])
    outcomes = [trained(4, 1, 0.3), trained(7, 1, 0.2), trained(7, 2, 0.1)]
    best = finalists.rank(page, TRIALS, outcomes)[0]
    assert (best.trial.number, best.network) == (7, b"7/2")


def test_a_finalist_with_one_good_seed_stays_in_and_one_with_none_is_out() -> None:
    outcomes = [trained(4, 1, None), trained(4, 2, None), trained(7, 1, None), trained(7, 2, 0.6)]
    assert [finalist.trial.number for finalist in finalists.rank(parse(PAGE), TRIALS, outcomes)] == [7]


def test_no_good_finalist_is_an_error_that_tells_how_each_ended() -> None:
    with pytest.raises(StudyError, match=r"one finalist must train to the end; got trial 4: diverged"):
        finalists.rank(parse(PAGE), TRIALS, [trained(4, 1, None)])


def test_a_point_reads_as_people_write_it() -> None:
    assert finalists.point_text({"learning_rate": 0.00123456, "units": 64}) == "learning_rate=0.001235, units=64"
