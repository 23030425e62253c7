"""Which trials of a search for two goals no other one dominates."""

from __future__ import annotations

from dataclasses import replace

from windrow.experiment import SweepSection
from windrow.sweep.goals.front import cost_of, front, listed
from windrow.sweep.ledger import Entry
from windrow.sweep.outcomes import Ending, Outcome
from windrow.training.loop import Epoch

EPOCH = Epoch(1.0, 0.5, 1.0, 0.5, 0.1)
ACCURACY = SweepSection(objectives=("val_accuracy", "weights"))
LOSS = SweepSection(objectives=("val_loss", "milliseconds"))


def trial(number: int, value: float | None, **cost: float) -> Entry:
    ending = Ending.OK if value is not None else Ending.PRUNED
    return Entry(number, {}, number, Outcome(number, 1, ending, value, (replace(EPOCH, **cost),)))


def test_the_front_has_the_best_value_for_each_cost_the_best_first() -> None:
    trials = [
        *(trial(0, 0.9, weights=100), trial(1, 0.95, weights=200), trial(2, 0.94, weights=300)),
        *(trial(3, 0.5, weights=10), trial(4, 0.5, weights=20), trial(5, None, weights=1)),
    ]
    assert [one.number for one in front(trials, ACCURACY)] == [1, 0, 3]
    assert listed(trials[:2], ACCURACY) == [
        {"trial": 1, "value": 0.95, "cost": 200},
        {"trial": 0, "value": 0.9, "cost": 100},
    ]


def test_of_equal_trials_the_first_is_on_the_front() -> None:
    assert [one.number for one in front([trial(1, 0.9, weights=5), trial(0, 0.9, weights=5)], ACCURACY)] == [0]


def test_of_losses_the_lower_is_the_better() -> None:
    trials = [trial(0, 0.3, milliseconds=2.0), trial(1, 0.2, milliseconds=1.0), trial(2, 0.1, milliseconds=9.0)]
    assert [one.number for one in front(trials, LOSS)] == [2, 1]


def test_a_trial_without_the_cost_is_on_no_front() -> None:
    assert cost_of((EPOCH,), ACCURACY) is None
    assert cost_of((), ACCURACY) is None
    assert front([trial(0, 0.9)], ACCURACY) == []
    assert front([trial(0, 0.9, weights=5)], SweepSection()) == []
