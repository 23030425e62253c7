"""Drift: the index against numbers by hand and SciPy, what is compared with what, and what chance alone gives."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.report import drift
from windrow.scoring.report.figures import Figures


def run(counts: dict[str, int], other: int = 0, version: str = "1", **more: Any) -> Figures:
    """A run's figures: all scores are in the last bin."""
    total = sum(counts.values()) + other
    figures = Figures(
        statuses={"ok": total, "timeout": 3}, labels=counts, other_labels=other, scores=(*(0,) * 9, total),
        model_name="m", model_version=version,
    )  # fmt: skip
    return replace(figures, **more)


def test_the_same_shares_have_not_moved() -> None:
    assert drift.psi([10, 20, 30], [10, 20, 30]) == 0
    assert drift.psi([1000, 2000], [1_000_000, 2_000_000]) == pytest.approx(0, abs=1e-5)


def test_the_index_is_that_computed_by_hand() -> None:
    # (100.5/201 - 50.5/201) ln(100.5/50.5) + (100.5/201 - 150.5/201) ln(100.5/150.5), which is 0.171203 + 0.100440
    assert drift.psi([50, 150], [100, 100]) == pytest.approx(0.271639, abs=2e-5)


def test_the_index_is_both_relative_entropies_of_scipy() -> None:
    from scipy.stats import entropy

    rng = np.random.default_rng(7)
    for groups in (2, 10, 20):
        before, now = rng.integers(0, 500, groups), rng.integers(0, 50, groups)
        q, p = (before + 0.5) / (before + 0.5).sum(), (now + 0.5) / (now + 0.5).sum()
        assert drift.psi(before.tolist(), now.tolist()) == pytest.approx(entropy(p, q) + entropy(q, p))


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=25), st.randoms())
def test_the_index_is_never_negative_and_the_same_both_ways_and_in_any_order(
    pairs: list[tuple[int, int]], random: Random
) -> None:
    def psi(pairs: list[tuple[int, int]]) -> float:
        return drift.psi([before for before, _ in pairs], [now for _, now in pairs])

    found = psi(pairs)
    assert found >= 0
    assert psi([(now, before) for before, now in pairs]) == pytest.approx(found)
    assert psi(random.sample(pairs, len(pairs))) == pytest.approx(found)
    assert psi([(before, before) for before, _ in pairs]) == 0


def test_an_empty_group_makes_no_infinity() -> None:
    assert math.isfinite(drift.psi([0, 200], [200, 0]))
    assert drift.psi([0, 200], [200, 0]) > 5


def test_a_group_that_is_empty_on_both_sides_is_none() -> None:
    assert drift.psi([50, 0, 150, 0], [100, 0, 100, 0]) == drift.psi([50, 150], [100, 100])
    assert drift.psi([0, 0], [0, 0]) == 0


def test_histograms_of_other_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="same groups"):
        drift.psi([1], [1, 2])


def test_chance_stays_below_the_usual_gate_with_just_enough_images() -> None:
    rng = np.random.default_rng(3)
    shares = np.full(20, 1 / 20)
    found = []
    for _ in range(2000):
        before = rng.multinomial(drift.RUNS * drift.ENOUGH_IMAGES, shares)
        found.append(drift.psi(before.tolist(), rng.multinomial(drift.ENOUGH_IMAGES, shares).tolist()))
    assert np.mean(np.array(found) > drift.MUCH) < 0.005
    assert np.median(found) == pytest.approx(19 * (1 / 200 + 1 / 1400), rel=0.1)


def test_too_few_images_are_not_compared_and_the_reason_says_so() -> None:
    found = drift.compare(run({"a": 199}), [run({"a": 500})])
    assert (found.labels, found.scores) == (None, None)
    assert found.reason == "fewer than 200 labelled images are not compared; this run has 199"
    assert drift.beyond(found, 0.01) == ""


def test_without_an_earlier_run_of_this_version_there_is_nothing_to_compare_with() -> None:
    others = [run({"a": 500}, version="2"), run({"a": 199}), run({"a": 500}, scores=())]
    assert "no earlier run" in drift.compare(run({"a": 500}), others).reason
    assert "no earlier run" in drift.compare(run({"a": 500}), []).reason


def test_a_run_is_compared_with_the_sum_of_the_last_seven() -> None:
    before = [run({"a": 300, "b": 100})] * drift.RUNS + [run({"b": 100_000})]
    found = drift.compare(run({"a": 100, "b": 300}), before)
    assert (found.runs, found.images) == (7, 2800)
    assert found.labels == round(drift.psi([2100, 700, 0], [100, 300, 0]), 4)
    assert found.scores == 0
    assert found.moved in (("a", 0.75, 0.25), ("b", 0.25, 0.75))


def test_a_run_that_a_person_accepted_begins_a_new_normal() -> None:
    new, old = run({"b": 400}, drift_accepted=True), run({"a": 400})
    found = drift.compare(run({"b": 400}), [new, old, old])
    assert found.runs == 1
    assert found.labels == pytest.approx(0, abs=0.01)


def test_a_label_whose_count_some_run_did_not_keep_is_counted_with_the_others() -> None:
    found = drift.compare(run({"a": 300, "rare": 10}, other=90), [run({"a": 300}, other=100)])
    assert found.labels == round(drift.psi([300, 100], [300, 100]), 4)
    complete = drift.compare(run({"new": 300}), [run({"a": 300})])  # both kept all: nothing is unknown
    assert complete.labels == round(drift.psi([0, 300, 0], [300, 0, 0]), 4)


def test_many_labels_are_compared_in_few_groups() -> None:
    many = {f"l{number}": 1 for number in range(60)}
    found = drift.compare(run(many, other=940), [run(many, other=940)] * 3)
    assert found.labels == pytest.approx(0, abs=0.01)


def test_what_is_beyond_a_gate_is_said_in_words() -> None:
    found = drift.compare(run({"a": 10, "b": 390}), [run({"a": 390, "b": 10})])
    assert drift.beyond(found, None) == ""
    assert drift.beyond(found, 100.0) == ""
    words = drift.beyond(found, 0.25)
    assert words.startswith("the labels moved by 6.")
    assert "(a most, from 97.5% to 2.5%)" in words
    assert "scores" not in words


def test_scores_that_moved_are_said_as_well() -> None:
    low = run({"a": 400}, scores=(400, *(0,) * 9))
    assert drift.beyond(drift.compare(low, [run({"a": 400})]), 0.25).startswith("the scores moved by ")


@pytest.mark.parametrize(
    ("value", "word"), [(0.05, "as before"), (0.1, "moved somewhat"), (0.25, "moved somewhat"), (0.3, "moved much")]
)
def test_the_usual_thresholds(value: float, word: str) -> None:
    assert drift.reading(value) == word
