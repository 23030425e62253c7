"""Decide whether a challenger becomes champion."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from windrow.selection.readout import Readout
from windrow.selection.statistics import mcnemar

if TYPE_CHECKING:
    from windrow.experiment import PromotionSection

SIGNIFICANCE = 0.05
"""A lead counts as more than luck if McNemar's p is below this value."""


class Ruling(StrEnum):
    """The possible decisions about a challenger."""

    PROMOTED = "promoted"
    KEPT = "kept"
    AWAITING_APPROVAL = "awaiting_approval"


_WORDS = {
    Ruling.PROMOTED: "promoted",
    Ruling.KEPT: "not promoted",
    Ruling.AWAITING_APPROVAL: "awaits approval",
}


@dataclass(frozen=True)
class Decision:
    """A ruling and the grounds for it. `grounds` follows the ruling's words in one sentence: "promoted: ..."."""

    ruling: Ruling
    grounds: str

    @property
    def reason(self) -> str:
        """Return the ruling and its grounds as one sentence, without the full stop."""
        return _WORDS[self.ruling] + self.grounds

    @property
    def promoted(self) -> bool:
        """Return whether the challenger becomes champion now."""
        return self.ruling is Ruling.PROMOTED

    @classmethod
    def of(cls, ruling: str, reason: str) -> Decision:
        """Return the decision with the given ruling, whose property `reason` is the given text."""
        return cls(Ruling(ruling), reason.removeprefix(_WORDS[Ruling(ruling)]))

    def settled(self, approved: bool, by: str) -> Decision:
        """Return the decision after a person has approved or rejected the challenger."""
        ruling, verb = (Ruling.PROMOTED, "approved") if approved else (Ruling.KEPT, "rejected")
        return Decision(ruling, f"{self.grounds}; {verb} by {by}")


def decide(challenger: Readout, champion: Readout | None, rule: PromotionSection, incomparable: str = "") -> Decision:
    """Return the decision about a challenger, by the test accuracies.

    Args:
        challenger: the challenger's predictions on the test split.
        champion: the champion's predictions on the same test split; None if no champion can be compared.
        rule: how much better the challenger must be (at 0 it must still be better, not equal), whether the lead must be
            statistically significant, and whether a person must approve.
        incomparable: why the current champion can't be compared, as the end of a sentence that begins "the champion";
            empty if the champion can be compared, or there is none.
    """
    good = Ruling.AWAITING_APPROVAL if rule.approval else Ruling.PROMOTED
    accuracy = f"{challenger.accuracy:.4f}"
    if champion is None:
        why = f"the champion {incomparable}" if incomparable else "there was no champion"
        return Decision(good, f" with test accuracy {accuracy}: {why}")
    text = f": test accuracy {accuracy} against the champion's {champion.accuracy:.4f}"
    gained = champion.errors - challenger.errors
    gain = gained / challenger.images
    if gained <= 0:
        return Decision(Ruling.KEPT, f"{text} is not better")
    # A tolerance of half an image: rounding must not make a gain of exactly 0.01 miss a minimum of 0.01.
    if gain < rule.minimum_improvement - 0.5 / challenger.images:
        least = f"less than the page's {rule.minimum_improvement:g}"
        return Decision(Ruling.KEPT, f"{text} is better by {gain:.4f}, {least}")
    p = mcnemar(challenger.hits, champion.hits)
    if rule.significant and p >= SIGNIFICANCE:
        return Decision(Ruling.KEPT, f"{text} may be luck: McNemar's p is {p:.2g}, not below {SIGNIFICANCE:g}")
    return Decision(good, text)
