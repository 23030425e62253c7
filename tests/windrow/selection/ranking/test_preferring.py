"""Which finalist wins where the smallest is preferred, and what the evidence says about it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from windrow.data.manifest import Manifest
from windrow.experiment import parse
from windrow.selection import finalists
from windrow.selection.finalists import Final
from windrow.selection.ranking import contest, preferring
from windrow.sweep.goals.hits import Hits
from windrow.sweep.ledger import Entry
from windrow.sweep.outcomes import Ending, Outcome
from windrow.training.loop import Epoch
from windrow.training.networks import Builder

PAGE = """
name: a
space: {units: {type: int, low: 1, high: 99}}
promotion: {seeds: 3, prefer: smallest, tolerance: 0.004}
"""
IMAGES = 1003  # fills no whole number of bytes
EVERY = Manifest("a", "digits", "d", (8, 8, 1), ("0", "1"), {}, {}, {})


def trial(number: int) -> Entry:
    return Entry(number, {"units": number + 1}, number, Outcome(number, 1, Ending.OK, 0.9))


def outcome(number: int, repeat: int, right: np.ndarray, **cost: float) -> Outcome:
    value = float(right.mean())
    epoch = Epoch(0.1, 0.9, 0.1, value, 1.0, **cost)
    hits = Hits.pack(right)
    return Outcome(number, 1, Ending.OK, value, (epoch,), network=b"n", repeat=repeat, hits=hits)


def right(wrong: Mapping[int, int] | range) -> np.ndarray:
    """Return hits on all images but these."""
    hits = np.ones(IMAGES, np.bool_)
    hits[list(wrong)] = False
    return hits


def promoted(sizes: Mapping[int, float], wrong: Mapping[int, range], *overrides: str, cost: str = "weights") -> Final:
    """Rank finalists whose three seeds have the same wrong images."""
    outcomes = [
        outcome(number, repeat, right(wrong[number]), **{cost: size})
        for number, size in sizes.items()
        for repeat in (1, 2, 3)
    ]
    return contest.rank(parse(PAGE, overrides), [trial(number) for number in sizes], [], outcomes)


def test_bits_of_images_that_fill_no_byte_come_back() -> None:
    drawn = np.random.default_rng(0).random(IMAGES) < 0.9
    hits = Hits.pack(drawn)
    assert len(hits.bits) == 126
    assert (hits.unpack() == drawn).all()


def test_the_smallest_network_within_the_tolerance_wins_and_the_evidence_says_what_that_saves_and_loses() -> None:
    sizes = {3: 98_000.0, 7: 12_000.0, 8: 4_000.0}
    final = promoted(sizes, {3: range(10), 7: range(11), 8: range(50)})
    assert [one.trial.number for one in final.ranked] == [7, 3, 8]
    assert final.preference is not None
    assert final.preference.reason == (
        "trial 7 has 12,000 weights in place of 98,000 (trial 3, the best on validation) and is worse by 0.0010, at "
        "most 0.0030 (95 %), within the tolerance of 0.004; it is taken"
    )
    assert preferring.text(final.preference) == f"The smallest network is preferred: {final.preference.reason}."
    assert preferring.figures(final.preference) == {"trial": 7, "smaller": True, "reason": final.preference.reason}


def test_a_network_whose_interval_ends_beyond_the_tolerance_does_not_win_although_its_mean_is_within() -> None:
    final = promoted({3: 98_000.0, 7: 12_000.0}, {3: range(10), 7: range(13)})
    assert final.winner.trial.number == 3
    assert final.preference is not None
    assert not final.preference.is_smaller
    assert final.preference.reason == (
        "trial 7 has 12,000 weights in place of 98,000 (trial 3, the best on validation) and is worse by 0.0030, at "
        "most 0.0064 (95 %), beyond the tolerance of 0.004; trial 3 is taken"
    )


def test_networks_that_err_on_other_images_are_less_surely_alike() -> None:
    alike = {3: range(10), 7: range(11)}
    assert promoted({3: 2.0, 7: 1.0}, alike).winner.trial.number == 7
    assert promoted({3: 2.0, 7: 1.0}, {**alike, 7: range(500, 511)}).winner.trial.number == 3


def test_seeds_that_contradict_each_other_make_no_network_surely_alike() -> None:
    def of(wrong: list[int], number: int, size: float) -> list[Outcome]:
        return [
            outcome(number, repeat, right(range(count)), weights=size) for repeat, count in enumerate(wrong, start=1)
        ]

    steady = contest.rank(parse(PAGE), [trial(3), trial(7)], [], of([10, 10, 10], 3, 2) + of([11, 11, 11], 7, 1))
    unsteady = contest.rank(parse(PAGE), [trial(3), trial(7)], [], of([10, 10, 10], 3, 2) + of([1, 10, 22], 7, 1))
    assert (steady.winner.trial.number, unsteady.winner.trial.number) == (7, 3)


def test_no_network_is_smaller_than_the_best_and_that_is_said() -> None:
    final = promoted({3: 1.0, 7: 12_000.0}, {3: range(10), 7: range(11)})
    assert final.preference is not None
    assert final.preference.reason == "no finalist is smaller than trial 3, which has 1 weight; trial 3 is taken"


def test_a_finalist_with_one_good_seed_is_compared_with_none() -> None:
    outcomes = [outcome(3, repeat, right(range(10)), weights=2.0) for repeat in (1, 2, 3)]
    lost = [Outcome(7, 1, Ending.LOST, repeat=repeat) for repeat in (2, 3)]
    alone = [*outcomes, outcome(7, 1, right(range(11)), weights=1.0), *lost]
    final = contest.rank(parse(PAGE), [trial(3), trial(7)], [], alone)
    assert final.winner.trial.number == 3
    assert final.preference is not None
    assert "no smaller finalist has 2 seeds that ended ok" in final.preference.reason


@pytest.mark.parametrize(("milliseconds", "winner"), [(0.096, 3), (0.094, 7)])
def test_the_fastest_wins_where_the_search_is_for_speed_and_five_percent_are_no_difference(
    milliseconds: float, winner: int
) -> None:
    goals = "sweep.objectives=[val_accuracy, milliseconds]"
    found = promoted({3: 0.1, 7: milliseconds}, {3: range(10), 7: range(11)}, goals, cost="milliseconds")
    assert found.winner.trial.number == winner


def test_without_the_key_the_best_wins_and_nothing_is_measured_or_said() -> None:
    plain = ("promotion.prefer=best", "promotion.tolerance=null")
    final = promoted({3: 98_000.0, 7: 12_000.0}, {3: range(10), 7: range(11)}, *plain)
    assert (final.winner.trial.number, final.preference, preferring.text(final.preference)) == (3, None, "")
    for overrides, measured in ((plain, (None, False)), ((), ("weights", True))):
        page = parse(PAGE, overrides)
        specs = finalists.specs(page, Builder("dense"), EVERY, [trial(3)])
        assert {(spec.cost, spec.keep_hits) for spec in specs} == {measured}
    assert finalists.key_of(parse(PAGE, plain), [3]) == "3 over 3 seeds"
    assert finalists.key_of(parse(PAGE), [3]) == "3 over 3 seeds, the smallest within 0.004"


HEADS = """
name: a
dataset: {source: photos, fit: squash}
network: {backbone: lite0}
promotion: {seeds: 3, prefer: smallest, tolerance: 0.1}
"""


def folded(number: int, weights: float, *losses: float) -> list[Outcome]:
    """The trainings of a finalist on the folds, each with images of its own."""
    return [
        Outcome(number, 1, Ending.OK, loss, (Epoch(0.1, 0.9, loss, 0.9, 1.0, weights=weights),), repeat=fold)
        for fold, loss in enumerate(losses, start=1)
    ]


@pytest.mark.parametrize(("losses", "winner"), [((0.35, 0.44, 0.54), 7), ((0.30, 0.40, 0.63), 4)])
def test_cross_validated_heads_are_compared_by_seed_and_the_smaller_wins_where_all_seeds_agree(
    losses: tuple[float, ...], winner: int
) -> None:
    outcomes = folded(4, 900.0, 0.30, 0.40, 0.50) + folded(7, 100.0, *losses) + folded(0, 400.0, 0.91, 1.02, 1.13)
    final = contest.rank(parse(HEADS), [trial(4), trial(7)], [trial(0)], outcomes)
    assert final.winner.trial.number == winner
    page = parse(HEADS)
    features = Manifest("a", "photos", "f", (1, 1, 9), ("x", "y"), {}, {}, {})
    specs = finalists.specs(page, Builder("head"), features, [trial(4)], keep_networks=False)
    assert {(spec.cost, spec.keep_hits) for spec in specs} == {("weights", False)}


def test_the_default_configuration_that_wins_within_the_noise_gives_way_to_a_smaller_finalist() -> None:
    best, default = folded(4, 100.0, 0.30, 0.40, 0.70), folded(0, 400.0, 0.40, 0.40, 0.65)
    final = contest.rank(parse(HEADS), [trial(4)], [trial(0)], best + default)
    assert final.lead is not None
    assert not final.lead.is_clear
    assert final.winner.trial.number == 4
    assert final.preference is not None
    assert final.preference.reason.startswith("trial 4 has 100 weights and is the best on validation, within")
