"""Whether the search has found anything better than the default configuration."""

from __future__ import annotations

from statistics import stdev

import pytest
from windrow.experiment import parse
from windrow.selection.finalists import Finalist, Lead, finalist_of
from windrow.selection.ranking import leading
from windrow.sweep.ledger import Entry
from windrow.sweep.outcomes import Ending, Outcome

PAGE = "name: a\ndataset: {source: photos, fit: squash}\nnetwork: {backbone: lite0}\npromotion: {seeds: 3}\n"

SHARE = 0.25  # of validation to training images


def finalist(number: int, *values: float | None) -> Finalist:
    outcomes = [
        Outcome(number, 1, Ending.OK if value is not None else Ending.DIVERGED, value, repeat=fold)
        for fold, value in enumerate(values, start=1)
    ]
    return finalist_of(parse(PAGE), Entry(number, {}, number), outcomes)


def lead(best: list[float | None], default: list[float | None], objective: str = "val_loss") -> Lead:
    sweep = parse(PAGE, [f"sweep.objective={objective}"]).sweep
    found = leading.lead(finalist(4, *best), finalist(0, *default), sweep, SHARE)
    assert found is not None
    return found


def test_a_clear_lead_is_taken_with_its_noise() -> None:
    found = lead([0.30, 0.42, 0.51], [0.33, 0.43, 0.53])
    assert (found.is_clear, found.pairs) == (True, 3)
    assert found.difference == pytest.approx(0.02)
    assert found.error == pytest.approx(0.01 * (1 / 3 + 1 / 4) ** 0.5)
    assert found.reason == (
        "trial 4 has val_loss 0.4100 against 0.4300 of the default configuration, better by 0.0200 ± 0.0076 (the "
        "standard error over 3 seeds, each validated on other images, with a correction for the training images that "
        "they share); it is taken"
    )


def test_where_nothing_is_better_by_more_than_noise_that_is_said() -> None:
    found = lead([0.80, 0.90, 0.75], [0.81, 0.85, 0.76], "val_accuracy")
    assert not found.is_clear
    assert 0 < found.difference < found.error
    assert found.reason.startswith(
        "the search found nothing that is better than the default configuration by more than noise: the best "
        "other one, trial 4, has val_accuracy 0.8167 against 0.8067"
    )
    assert found.reason.endswith("; the default configuration is taken")


def test_a_lead_of_one_standard_error_is_noise_where_the_seeds_share_training_images() -> None:
    """The lead is above the standard error of independent trainings, and below that of these."""
    found = lead([0.5, 0.5, 0.5], [0.521, 0.511, 0.496])
    assert stdev([0.021, 0.011, -0.004]) / 3**0.5 < found.difference < found.error
    assert not found.is_clear
    assert lead([0.5, 0.5, 0.5], [0.521, 0.511, 0.501]).is_clear


def test_the_pairs_are_those_of_one_fold() -> None:
    """The folds differ by far more than the finalists."""
    assert lead([0.1, 0.5, 0.9], [0.101, 0.501, 0.901]).is_clear
    assert lead([0.1, None, 0.9], [0.2, 0.05, 1.05]).pairs == 2


def test_equal_finalists_leave_the_default_configuration() -> None:
    found = lead([0.5, 0.5], [0.5, 0.5])
    assert (found.is_clear, found.difference) == (False, 0)


def test_one_pair_has_no_noise_to_judge_by() -> None:
    assert leading.lead(finalist(4, 0.1, None), finalist(0, 0.2, 0.3), parse(PAGE).sweep, SHARE) is None
