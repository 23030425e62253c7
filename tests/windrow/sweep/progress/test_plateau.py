"""When a sweep has found nothing better for a while, by the rule that docs/pages.md gives."""

from __future__ import annotations

import math

import pytest
from windrow.experiment import SweepSection
from windrow.sweep.ledger import Entry
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.progress.plateau import noise, plateau

SWEEP = SweepSection()
LOSS = SweepSection(objective="val_loss")


def trials(*values: float | None) -> list[Entry]:
    """Trials from number 0 on; None is a pruned one."""
    return [
        Entry(number, {}, number, Outcome(number, 1, Ending.OK if value is not None else Ending.PRUNED, value))
        for number, value in enumerate(values)
    ]


def course(*values: float | None, sweep: SweepSection = SWEEP, images: int = 100) -> tuple[int, int] | None:
    """The leader's number, and the trials since."""
    found = plateau(trials(*values), sweep, images)
    return None if found is None else (found.leader.number, found.trials)


@pytest.mark.parametrize(
    ("sweep", "value", "images", "expected"),
    [
        *((SWEEP, 0.98, 216, 0.0095), (SWEEP, 0.99, 6000, 0.0013), (SWEEP, 1.0, 100, 0.0), (SWEEP, 0.5, 0, 0.5)),
        *((LOSS, 0.4, 400, 0.02), (LOSS, 2.5, 1, 2.5)),
    ],
)
def test_noise_is_the_standard_error_on_the_validation_images(
    sweep: SweepSection, value: float, images: int, expected: float
) -> None:
    assert noise(value, sweep, images) == pytest.approx(expected, abs=5e-5)


def test_a_trial_counts_only_if_it_is_better_by_more_than_noise() -> None:
    assert course() is None
    assert course(None, None) is None
    assert course(0.8, 0.84) == (0, 1)  # noise is 0.04
    assert course(0.8, 0.841) == (1, 0)
    assert course(0.8, 0.1, None, 0.82) == (0, 3)


def test_small_steps_add_up() -> None:
    assert course(0.8, 0.82, 0.83, 0.85, 0.86) == (3, 1)


def test_of_losses_the_lower_one_is_better() -> None:
    assert course(1.0, 0.91, 0.89, 1.5, sweep=LOSS) == (2, 1)  # noise is 0.1


def test_more_images_show_smaller_steps() -> None:
    assert course(0.8, 0.81, images=100) == (0, 1)
    assert course(0.8, 0.81, images=10_000) == (1, 0)


def test_of_equal_networks_a_chain_of_lucky_ones_is_short() -> None:
    """Twenty networks of one true accuracy, each measured on other images: few are taken for better ones."""
    import numpy as np

    draw, steps = np.random.default_rng(0), []
    for _ in range(200):
        values = draw.binomial(1000, 0.9, 20) / 1000
        found = plateau(trials(*map(float, values)), SWEEP, 1000)
        assert found is not None
        steps.append(found.trials)
    assert np.mean([step >= 5 for step in steps]) > 0.7
    assert not math.isnan(float(np.mean(steps)))
