"""Against figures of the papers and textbooks, and against other ways to the same number."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.selection import statistics
from windrow.selection.statistics import Interval


def hits(both: int, first_only: int, second_only: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    first = [True] * (both + first_only) + [False] * (second_only + neither)
    second = [True] * both + [False] * first_only + [True] * second_only + [False] * neither
    return np.array(first), np.array(second)


def test_mnists_best_accuracy_has_the_interval_that_is_told_of_it() -> None:
    interval = statistics.wilson(9947, 10_000)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.9931, 0.9959)


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 2), min_size=1, max_size=30))
def test_the_macro_f1_of_resampled_images_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import f1_score

    truth, predicted = np.array(pairs).T
    rows = np.stack([truth, truth[::-1]]), np.stack([predicted, predicted[::-1]])
    expected = f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
    assert statistics._macro_f1(*rows, 5).tolist() == pytest.approx([expected] * 2)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.95, 0.05), (0.1,) * 10, (0.9, 0.08, 0.02)])
def test_no_guess_has_a_higher_macro_f1_than_the_one_by_the_classes_shares(shares: tuple[float, ...]) -> None:
    """By the mean of F1 for independent answers, and for the most frequent class as scikit-learn computes it."""
    from sklearn.metrics import f1_score

    classes, p = len(shares), np.array(shares)
    truth = np.repeat(np.arange(classes), (1000 * p).round().astype(int))
    best = statistics.guessed_macro_f1(truth)
    assert best == pytest.approx(1 / classes)
    for q in np.random.default_rng(0).dirichlet(np.ones(classes), 500):
        assert np.mean(2 * p * q / (p + q)) <= best + 1e-9
    constant = f1_score(truth, np.full(len(truth), p.argmax()), average="macro", zero_division=0)
    assert constant == pytest.approx(2 * p.max() / (1 + p.max()) / classes)


def test_guesses_seldom_have_an_interval_of_macro_f1_above_that_of_guessing() -> None:
    draw, above = np.random.default_rng(0), 0
    for _ in range(12):
        truth, guessed = (draw.random(200) < 0.1).astype(int), (draw.random(200) < 0.1).astype(int)
        above += statistics.macro_f1_interval(truth, guessed).low > statistics.guessed_macro_f1(truth)
    assert above <= 1


def test_an_interval_of_macro_f1_is_around_it_and_a_point_where_every_resample_is_the_same() -> None:
    truth = np.arange(300) % 3
    predicted = np.where(np.arange(300) < 60, (truth + 1) % 3, truth)
    interval = statistics.macro_f1_interval(truth, predicted)
    assert interval.low < 0.8 < interval.high
    assert interval.high - interval.low < 0.12
    for answers, images in ((truth, 300), (truth[:1], 1)):
        assert statistics.macro_f1_interval(truth[:images], answers) == Interval(1.0, 1.0)
    lead = statistics.macro_f1_lead(truth, truth, truth, predicted)
    assert 0.1 < lead.low < 0.2 < lead.high
    assert statistics.macro_f1_lead(truth, predicted, truth, predicted) == Interval(0.0, 0.0)
    assert statistics.macro_f1_lead(truth[:1], truth[:1], truth[:1], predicted[:1]) == Interval(1.0, 1.0)


def test_a_class_that_only_predictions_have_does_not_widen_or_lower_the_interval_of_macro_f1() -> None:
    truth = np.arange(300) % 2
    added, other = (np.where(np.arange(300) < 20, answer, truth) for answer in (2, 1 - truth))
    interval = statistics.macro_f1_interval(truth, added)
    assert 0.9 < interval.low < 0.966 < interval.high  # with a third class of F1 0, 0.644
    lead = statistics.macro_f1_lead(truth, added, truth, other)
    assert 0 < lead.low < lead.high < 0.06  # with that class, -0.29


@pytest.mark.parametrize(("right", "images"), [(0, 10), (10, 10), (359, 359)])
def test_an_accuracy_at_the_edge_has_an_interval_within_0_and_1(right: int, images: int) -> None:
    interval = statistics.wilson(right, images)
    assert 0 <= interval.low < interval.high <= 1
    assert interval.low <= right / images <= interval.high


@pytest.mark.parametrize(("first_only", "second_only"), [(10, 2), (2, 10), (7, 7), (1, 0), (30, 12)])
def test_mcnemars_p_is_the_share_of_coins_that_part_so_far_or_farther(first_only: int, second_only: int) -> None:
    tosses, most = first_only + second_only, max(first_only, second_only)
    tail = sum(comb(tosses, heads) for heads in range(most, tosses + 1)) / 2**tosses
    p = statistics.mcnemar(*hits(50, first_only, second_only, 3))
    assert p == pytest.approx(min(1.0, 2 * tail))


def test_networks_that_err_alike_are_no_different() -> None:
    comparison = statistics.compare(*hits(90, 0, 0, 10))
    assert (comparison.p, comparison.difference) == (1.0, 0.0)
    assert comparison.interval == Interval(0.0, 0.0)


def test_images_that_both_get_right_or_wrong_say_nothing_about_luck() -> None:
    assert statistics.mcnemar(*hits(9, 8, 1, 2)) == statistics.mcnemar(*hits(9000, 8, 1, 300))


def test_the_bootstraps_interval_is_that_of_the_normal_where_images_are_many() -> None:
    first, second = hits(9000, 500, 300, 200)
    comparison = statistics.compare(first, second)
    assert comparison.difference == pytest.approx(0.02)
    error = 1.96 * (first.astype(float) - second).std() / 100
    assert comparison.interval.low == pytest.approx(0.02 - error, abs=3e-4)
    assert comparison.interval.high == pytest.approx(0.02 + error, abs=3e-4)


def test_the_same_answers_have_the_same_interval() -> None:
    pair = hits(50, 9, 4, 7)
    assert statistics.compare(*pair) == statistics.compare(*pair)


def test_the_other_way_round_the_difference_and_its_interval_change_sign() -> None:
    first, second = hits(50, 9, 4, 7)
    there, back = statistics.compare(first, second), statistics.compare(second, first)
    assert (there.p, there.difference) == (back.p, -back.difference)
    assert there.interval.low == pytest.approx(-back.interval.high, abs=0.02)


def test_one_seed_has_no_deviation_and_more_have_that_of_a_sample() -> None:
    assert statistics.spread([0.99]).deviation == 0
    spread = statistics.spread([0.97, 0.98, 0.99])
    assert (spread.seeds, spread.median, spread.low, spread.high) == (3, 0.98, 0.97, 0.99)
    assert (spread.mean, spread.deviation) == pytest.approx((0.98, 0.01))


def test_seeds_whose_differences_are_alike_have_the_t_interval_of_the_textbook() -> None:
    """Student's own data on sleep: the differences of ten patients have the mean 1.58 and the interval 0.70 to 2.46."""
    student = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    mean, interval = statistics.mean_over_seeds(student)
    assert (round(mean, 2), round(interval.low, 2), round(interval.high, 2)) == (1.58, 0.7, 2.46)


def test_seeds_that_always_differ_by_the_same_have_a_point_as_interval() -> None:
    assert statistics.mean_over_seeds(np.array([0.25, 0.25])) == (0.25, Interval(0.25, 0.25))


@pytest.mark.parametrize(
    ("of_images", "of_seeds", "together", "seeds"),
    [(0.3, 0.0, 0.0, 5), (0.1, 0.02, 0.3, 5), (0.0, 0.05, 0.3, 3), (0.1, 0.0, 0.5, 2)],
)
def test_the_interval_over_images_and_seeds_holds_the_difference_in_nineteen_of_twenty_cases(
    of_images: float, of_seeds: float, together: float, seeds: int
) -> None:
    """Drawn from the model of two crossed effects; more than 95 % where the seeds do not differ."""
    random, held, cases, truth = np.random.default_rng(3), 0, 400, 0.02
    for _ in range(cases):
        images = 200
        drawn = truth + random.normal(0, of_images, images) + random.normal(0, of_seeds, seeds)[:, None]
        _, interval = statistics.mean_over_images_and_seeds(drawn + random.normal(0, together, (seeds, images)))
        held += interval.low <= truth <= interval.high
    assert held / cases > 0.93


def test_the_interval_over_images_and_seeds_is_that_of_the_images_where_seeds_change_nothing() -> None:
    difference = np.array([1] * 30 + [-1] * 10 + [0] * 960, np.int8)
    mean, interval = statistics.mean_over_images_and_seeds(np.stack([difference] * 4))
    expected = statistics.bootstrap(difference)
    assert mean == pytest.approx(0.02)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-3)


def test_the_interval_over_images_and_seeds_is_wide_where_two_seeds_contradict_each_other() -> None:
    better, worse = np.repeat(np.array([1, 0], np.int8), [50, 950]), np.repeat(np.array([-1, 0], np.int8), [50, 950])
    mean, interval = statistics.mean_over_images_and_seeds(np.stack([better, worse]))
    assert mean == 0.0
    assert interval.high > 0.5
