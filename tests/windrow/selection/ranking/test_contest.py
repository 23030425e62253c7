"""The order of a promotion's finalists, and which of them and of the default configuration wins."""

from __future__ import annotations

from pathlib import Path

import pytest
from windrow.data.manifest import Manifest
from windrow.errors import StudyError
from windrow.experiment import parse
from windrow.selection import finalists
from windrow.selection.ranking import contest
from windrow.sweep.ledger import Entry
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.seeds import seed_of
from windrow.sweep.study import open_study, read_study
from windrow.training.networks import Builder

PAGE = "name: a\nspace: {units: {type: int, low: 1, high: 99}}\npromotion: {seeds: 2}\n"
TRIALS = [
    Entry(number, {"units": number + 1}, number, Outcome(number, 1, Ending.OK, 0.9, seconds=1.0)) for number in (4, 7)
]
DEFAULT = Entry(0, {"units": 1}, 0, Outcome(0, 1, Ending.OK, 0.5, seconds=1.0))


def trained(number: int, repeat: int, value: float | None) -> Outcome:
    ending = Ending.OK if value is not None else Ending.DIVERGED
    network = f"{number}/{repeat}".encode() if value is not None else None
    return Outcome(number, 1, ending, value, network=network, repeat=repeat)


def test_the_best_mean_wins_and_its_best_seed_is_the_network() -> None:
    outcomes = [trained(4, 1, 0.80), trained(7, 1, 0.70), trained(4, 2, 0.82), trained(7, 2, 0.99)]
    final = contest.rank(parse(PAGE), TRIALS, [], outcomes)
    first, second = final.ranked
    assert (first.trial.number, first.good[0].network, first.values) == (7, b"7/2", (0.99, 0.70))
    assert first.value == pytest.approx(0.845)
    assert second.trial.number == 4
    assert final.winner is first


def test_the_registered_network_is_told_with_the_seed_that_it_was_trained_with() -> None:
    page = parse(PAGE)
    best = contest.rank(page, TRIALS, [], [trained(7, 2, 0.9), trained(7, 1, 0.7)]).winner.good[0]
    assert (best.number, best.seed) == (2, seed_of(page.sweep.seed, 7, 1))


def test_where_less_is_better_the_lowest_loss_wins() -> None:
    page = parse(PAGE, ["sweep.objective=val_loss"])
    outcomes = [trained(4, 1, 0.3), trained(7, 1, 0.2), trained(7, 2, 0.1)]
    best = contest.rank(page, TRIALS, [], outcomes).winner
    assert (best.trial.number, best.good[0].network) == (7, b"7/2")


def test_a_finalist_with_one_good_seed_stays_in_and_one_with_none_is_out() -> None:
    outcomes = [trained(4, 1, None), trained(4, 2, None), trained(7, 1, None), trained(7, 2, 0.6)]
    final = contest.rank(parse(PAGE), TRIALS, [], outcomes)
    assert [finalist.trial.number for finalist in final.ranked] == [7]
    assert [finalist.trial.number for finalist in final.trained] == [4, 7]
    assert [len(finalist.repeats) for finalist in final.trained] == [2, 2]


def test_no_good_finalist_is_an_error_that_tells_how_each_ended() -> None:
    with pytest.raises(StudyError, match=r"one finalist must train to the end; got trial 4: diverged"):
        contest.rank(parse(PAGE), TRIALS, [], [trained(4, 1, None)])


def test_the_default_configuration_is_trained_beside_the_finalists_and_can_not_win() -> None:
    final = contest.rank(parse(PAGE), TRIALS, [DEFAULT], [trained(4, 1, 0.8), trained(0, 1, 0.99)])
    assert final.winner.trial.number == 4
    assert final.default is not None
    assert final.default.trial.number == 0
    assert [finalist.trial.number for finalist in final.trained] == [4, 7, 0]


def test_the_default_configuration_may_win_as_one_of_the_best_and_is_trained_once() -> None:
    final = contest.rank(parse(PAGE), [*TRIALS, DEFAULT], [DEFAULT], [trained(4, 1, 0.8), trained(0, 1, 0.99)])
    assert final.winner is final.default
    assert [finalist.trial.number for finalist in final.trained] == [4, 7, 0]


def test_a_default_configuration_that_diverges_again_has_nothing_to_read() -> None:
    final = contest.rank(parse(PAGE), TRIALS, [DEFAULT], [trained(4, 1, 0.8), trained(0, 1, None)])
    assert final.default is not None
    assert final.default.good == ()


PHOTOS = "name: a\ndataset: {source: photos, fit: squash}\nnetwork: {backbone: lite0}\npromotion: {seeds: 3}\n"


def validated(number: int, *losses: float | None) -> list[Outcome]:
    """The trainings of a finalist on the folds, which keep no network."""
    return [
        Outcome(number, 1, Ending.OK if loss is not None else Ending.DIVERGED, loss, repeat=fold)
        for fold, loss in enumerate(losses, start=1)
    ]


def test_each_repeat_is_validated_on_a_fold_of_its_own_and_the_first_is_the_data_sets() -> None:
    page, dataset = parse(PHOTOS), Manifest("a", "photos", "d", (1, 1, 9), ("x", "y"), {}, {}, {})
    for keep_networks in (False, True):
        specs = finalists.specs(page, Builder("head"), dataset, [DEFAULT], keep_networks)
        assert [(spec.repeat, spec.fold, spec.on_all) for spec in specs] == [
            (fold, fold, keep_networks) for fold in (1, 2, 3)
        ]
    own = parse(PHOTOS, ["promotion.train_on=train"])
    assert {spec.fold for spec in finalists.specs(own, Builder("head"), dataset, [DEFAULT])} == {1}


def test_a_finalist_that_is_ahead_of_the_default_by_more_than_noise_wins_the_cross_validation() -> None:
    outcomes = validated(4, 0.40, 0.50, 0.60) + validated(7, 0.31, 0.40, 0.48) + validated(0, 0.41, 0.52, 0.60)
    final = contest.rank(parse(PHOTOS), TRIALS, [DEFAULT], outcomes)
    assert [finalist.trial.number for finalist in final.ranked] == [7, 4, 0]
    assert final.lead is not None
    assert (final.lead.finalist, final.lead.is_clear) == (final.winner, True)


def test_a_lead_within_the_noise_leaves_the_default_configuration_as_the_winner() -> None:
    outcomes = validated(4, 0.40, 0.50, 0.60) + validated(7, 0.30, 0.40, 0.70) + validated(0, 0.40, 0.40, 0.65)
    final = contest.rank(parse(PHOTOS), TRIALS, [DEFAULT], outcomes)
    assert [finalist.trial.number for finalist in final.ranked] == [0, 7, 4]
    assert final.winner is final.default
    assert final.lead is not None
    assert not final.lead.is_clear


def test_with_one_seed_no_noise_is_known_and_the_best_wins() -> None:
    page = parse(PHOTOS, ["promotion.seeds=1"])
    final = contest.rank(page, TRIALS, [DEFAULT], validated(4, 0.4) + validated(7, 0.5) + validated(0, 0.401))
    assert (final.winner.trial.number, final.lead) == (4, None)


def test_the_registered_network_of_a_cross_validation_is_the_first_seeds_though_its_fold_was_harder() -> None:
    final = contest.rank(parse(PHOTOS), TRIALS, [], validated(4, None, 0.9, 0.1))
    assert [repeat.number for repeat in final.winner.good] == [2, 3]


def test_the_networks_of_the_last_training_come_to_the_figures_of_the_ranking() -> None:
    page = parse(PHOTOS)
    final = contest.rank(
        page, TRIALS, [DEFAULT], [*validated(4, 0.4, 0.5), *validated(7, 0.5, 0.6), *validated(0, 0.6)]
    )
    later = [trained(4, 2, 0.51), trained(4, 1, 0.41), Outcome(0, 1, Ending.FAILED, error="no room", repeat=1)]
    kept = contest.with_networks(page, final, later)
    assert kept.winner.values == (0.4, 0.5)
    assert [repeat.network for repeat in kept.winner.good] == [b"4/1", b"4/2"]
    assert [finalist.trial.number for finalist in kept.ranked] == [4, 7]
    assert kept.default is not None
    assert kept.default.good == ()
    failed = [Outcome(4, 1, Ending.FAILED, error="a trace\nno room", repeat=repeat) for repeat in (1, 2)]
    with pytest.raises(StudyError, match=r"trial 4 must train to the end on all images, .*; got no room; look"):
        contest.with_networks(page, final, failed)


def test_the_default_configuration_with_the_better_fit_is_what_the_others_must_beat() -> None:
    page = parse(PHOTOS.replace(", fit: squash", ""))
    squashed, cropped, other = (
        Entry(number, {"fit": fit, "units": units}, number, Outcome(number, 1, Ending.OK, 0.9))
        for number, fit, units in ((0, "squash", 512), (2, "crop", 512), (4, "squash", 99))
    )
    outcomes = validated(0, 0.5, 0.6, 0.7) + validated(2, 0.42, 0.50, 0.62) + validated(4, 0.40, 0.52, 0.60)
    final = contest.rank(page, [other, cropped], [squashed], outcomes)
    assert [finalist.trial.number for finalist in final.ranked] == [2, 4, 0]
    assert final.default is not None
    assert final.default.trial.number == 0
    assert final.lead is not None
    assert "against 0.5133 of the default configuration with fit crop, better by" in final.lead.reason
    assert final.lead.reason.endswith("; the default configuration with fit crop is taken")


def test_the_default_configuration_with_the_other_fit_is_a_finalist_in_any_case(tmp_path: Path) -> None:
    page = parse(
        PHOTOS.replace(", fit: squash", "") + "sweep: {sampler: random, trials: 12}\n", ["promotion.finalists=2"]
    )
    with open_study(tmp_path, page, "data") as study:
        for number in range(12):  # the later, the better
            asked = study.ask()
            assert asked is not None
            study.settle(Outcome(asked.number, asked.attempt, Ending.OK, 9.0 - number, lease=asked.token))
    record = read_study(tmp_path, page, "data")
    best, default = contest.entrants(page, record)
    assert [trial.number for trial in default] == [0]
    assert len(best) == 3
    assert best[0].number == 11
    assert best[2].point == {**default[0].point, "fit": "crop"}
