"""Against figures of the papers and textbooks, and against other ways to the same number."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from windrow.selection import statistics
from windrow.selection.statistics import Interval


def hits(both: int, first_only: int, second_only: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    first = [True] * (both + first_only) + [False] * (second_only + neither)
    second = [True] * both + [False] * first_only + [True] * second_only + [False] * neither
    return np.array(first), np.array(second)


def test_mnists_best_accuracy_has_the_interval_that_is_told_of_it() -> None:
    interval = statistics.wilson(9947, 10_000)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.9931, 0.9959)


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
