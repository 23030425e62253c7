from __future__ import annotations

import pytest
from windrow.selection.readout import Readout
from windrow.selection.rule import decide


def figures(accuracy: float) -> Readout:
    return Readout(accuracy, loss=1.0, images=1000)


def test_the_first_network_becomes_champion() -> None:
    decision = decide(figures(0.5), None, 0.0)
    assert decision.promoted
    assert "there was no champion" in decision.reason


@pytest.mark.parametrize(
    ("challenger", "champion", "least", "promoted"),
    [
        (0.98, 0.97, 0.0, True),
        (0.97, 0.97, 0.0, False),
        (0.96, 0.97, 0.0, False),
        (0.98, 0.97, 0.01, True),
        (0.979, 0.97, 0.01, False),
        (0.30000000000000004 - 0.1, 0.1, 0.1, True),
    ],
)
def test_a_challenger_must_be_better_and_by_enough(
    challenger: float, champion: float, least: float, promoted: bool
) -> None:
    decision = decide(figures(challenger), figures(champion), least)
    assert decision.promoted is promoted
    assert f"{champion:.4f}" in decision.reason


def test_a_champion_that_can_not_be_compared_is_replaced_and_the_reason_says_so() -> None:
    decision = decide(figures(0.5), None, 0.0, "is made for (28, 28, 1) images of 10 labels")
    assert decision.promoted
    assert "the champion is made for (28, 28, 1) images" in decision.reason
