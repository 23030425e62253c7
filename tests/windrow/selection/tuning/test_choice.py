"""Whether a fine-tuned network takes the place of the frozen one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from windrow.experiment import Experiment, FineTuneSection, parse
from windrow.selection.finalists import Finalist, FineTuned, finalist_of
from windrow.selection.tuning import choice
from windrow.sweep.ledger import Entry
from windrow.sweep.outcomes import Ending, Outcome

PAGE = "name: a\nspace: {units: {type: int, low: 1, high: 99}}\npromotion: {seeds: 3}\n"
TRIAL = Entry(4, {"units": 9}, 4, Outcome(4, 1, Ending.OK, 0.9))
SECTION = FineTuneSection()


def finalist(page: Experiment, *values: float | None, frozen: Sequence[float | None] = ()) -> Finalist:
    """Repeats of trial 4 with these objectives, and those of their heads before; None diverged."""
    known = dict(enumerate(frozen, start=1))
    outcomes = [
        Outcome(4, 1, Ending.OK, value, network=b"net", repeat=repeat, frozen=known.get(repeat))
        if value is not None
        else Outcome(4, 1, Ending.DIVERGED, error="a trace\nthe loss must stay finite", repeat=repeat)
        for repeat, value in enumerate(values, start=1)
    ]
    return finalist_of(page, TRIAL, outcomes)


def chosen(before: list[float | None], after: list[float | None], objective: str = "val_accuracy") -> FineTuned:
    page = parse(PAGE, [f"sweep.objective={objective}"])
    return choice.choose(finalist(page, 0.1), finalist(page, *after, frozen=before), SECTION, page.sweep)


def test_a_gain_above_its_standard_error_is_taken() -> None:
    found = chosen([0.80, 0.82, 0.81], [0.83, 0.84, 0.82])
    assert (found.is_chosen, found.pairs) == (True, 3)
    assert found.difference == pytest.approx(0.02)
    assert found.error == pytest.approx(0.01 / 3**0.5)
    assert found.reason == (
        "fine-tuning trial 4: val_accuracy 0.8300 against 0.8100 frozen, better by 0.0200 ± 0.0058 (the standard error "
        "over 3 seeds); it is taken"
    )


def test_a_gain_within_the_noise_is_not_and_that_is_said() -> None:
    found = chosen([0.80, 0.82, 0.81], [0.84, 0.79, 0.81])
    assert not found.is_chosen
    assert found.difference > 0
    assert found.reason.endswith("; that is within the noise; the frozen network is taken")


def test_the_pairs_are_those_of_one_seed() -> None:
    """The seeds differ by far more than a seed's network gains."""
    found = chosen([0.60, 0.70, 0.80], [0.61, 0.71, 0.81])
    assert found.error == pytest.approx(0, abs=1e-9)
    assert found.is_chosen


def test_no_difference_keeps_the_frozen_network() -> None:
    found = chosen([0.8, 0.8, 0.8], [0.8, 0.8, 0.8])
    assert not found.is_chosen
    assert "the same by 0.0000" in found.reason


def test_of_losses_the_lower_is_better() -> None:
    assert chosen([0.5, 0.5, 0.5], [0.4, 0.4, 0.4], "val_loss").is_chosen
    worse = chosen([0.4, 0.4, 0.4], [0.5, 0.5, 0.5], "val_loss")
    assert not worse.is_chosen
    assert "worse by 0.1000" in worse.reason


def test_only_seeds_that_ended_ok_before_and_after_are_compared() -> None:
    found = chosen([0.80, None, 0.80], [0.82, 0.10, 0.83])
    assert (found.pairs, found.is_chosen) == (2, True)


@pytest.mark.parametrize(("after", "endings"), [([None, None, None], "diverged"), ([0.99, None, None], "diverged, ok")])
def test_too_few_results_can_not_be_judged(after: list[float | None], endings: str) -> None:
    found = chosen([0.80, 0.81, 0.82], after)
    assert not found.is_chosen
    assert "has no result to judge by" in found.reason
    assert found.reason.endswith(f"({endings}: the loss must stay finite); the frozen network is taken")
