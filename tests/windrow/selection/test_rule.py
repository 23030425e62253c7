from __future__ import annotations

import numpy as np
import pytest
from windrow.experiment import PromotionSection
from windrow.selection.readout import Readout
from windrow.selection.rule import Decision, Ruling, decide

IMAGES = 1000


def figures(errors: int, images: int = IMAGES) -> Readout:
    """A network that gets the first `errors` images wrong: the worse of two errs wherever the better does."""
    truth = np.zeros(images, np.int64)
    predicted = truth.copy()
    predicted[:errors] = 1
    return Readout(predicted, truth, loss=1.0)


def rule(**keys: object) -> PromotionSection:
    return PromotionSection.model_validate(keys)


def test_the_first_network_becomes_champion() -> None:
    decision = decide(figures(500), None, rule())
    assert decision.promoted
    assert decision.reason == "promoted with test accuracy 0.5000: there was no champion"


@pytest.mark.parametrize(
    ("challenger", "champion", "least", "promoted"),
    [
        (20, 30, 0.0, True),
        (30, 30, 0.0, False),
        (40, 30, 0.0, False),
        (20, 30, 0.01, True),
        (21, 30, 0.01, False),
        (0, 100, 0.1, True),
    ],
)
def test_a_challenger_must_be_better_and_by_enough(
    challenger: int, champion: int, least: float, promoted: bool
) -> None:
    decision = decide(figures(challenger), figures(champion), rule(minimum_improvement=least))
    assert decision.promoted is promoted
    assert f"{1 - champion / IMAGES:.4f}" in decision.reason


@pytest.mark.parametrize(("errors", "promoted"), [(25, False), (24, True)])
def test_a_lead_must_be_more_than_luck_where_the_page_says_so(errors: int, promoted: bool) -> None:
    """Five images more against none have p = 0.0625, six have 0.031."""
    assert decide(figures(errors), figures(30), rule(significant=True)).promoted is promoted
    assert decide(figures(errors), figures(30), rule()).promoted


def test_a_lead_that_may_be_luck_is_told_with_its_p() -> None:
    reason = decide(figures(29), figures(30), rule(significant=True)).reason
    assert reason.startswith("not promoted: test accuracy 0.9710 against the champion's 0.9700")
    assert reason.endswith("may be luck: McNemar's p is 1, not below 0.05")


def test_a_champion_that_can_not_be_compared_is_replaced_and_the_reason_says_so() -> None:
    decision = decide(figures(500), None, rule(significant=True), "is made for (28, 28, 1) images of 10 labels")
    assert decision.promoted
    assert "the champion is made for (28, 28, 1) images" in decision.reason


@pytest.mark.parametrize("champion", [None, figures(30)])
def test_a_person_is_asked_about_a_challenger_that_the_rule_lets_pass(champion: Readout | None) -> None:
    decision = decide(figures(20), champion, rule(approval=True))
    assert decision.ruling is Ruling.AWAITING_APPROVAL
    assert not decision.promoted
    assert decision.reason.startswith("awaits approval")


def test_nobody_is_asked_about_a_challenger_that_lost() -> None:
    assert decide(figures(40), figures(30), rule(approval=True)).ruling is Ruling.KEPT


@pytest.mark.parametrize(
    ("approved", "ruling", "told"), [(True, Ruling.PROMOTED, "promoted"), (False, Ruling.KEPT, "not promoted")]
)
def test_a_persons_word_settles_it_and_is_told_with_the_name(approved: bool, ruling: Ruling, told: str) -> None:
    waiting = decide(figures(20), figures(30), rule(approval=True))
    settled = Decision.of(waiting.ruling.value, waiting.reason).settled(approved, "ada")
    assert settled.ruling is ruling
    assert settled.reason.startswith(f"{told}: test accuracy 0.9800 against")
    assert settled.reason.endswith("ed by ada")
