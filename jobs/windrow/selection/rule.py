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
"""McNemar's p below it counts as more than luck."""


class Ruling(StrEnum):
    """The fate of a challenger."""

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
    """A ruling with its grounds, which follow the ruling's words in a sentence for people."""

    ruling: Ruling
    grounds: str

    @property
    def reason(self) -> str:
        """The whole sentence, without its full stop."""
        return _WORDS[self.ruling] + self.grounds

    @property
    def promoted(self) -> bool:
        """True if the challenger becomes champion now."""
        return self.ruling is Ruling.PROMOTED

    @classmethod
    def of(cls, ruling: str, reason: str) -> Decision:
        """Return the decision with this ruling and reason."""
        return cls(Ruling(ruling), reason.removeprefix(_WORDS[Ruling(ruling)]))

    def settled(self, approved: bool, by: str) -> Decision:
        """Return the decision after a person has approved or rejected a challenger that awaited it."""
        ruling, verb = (Ruling.PROMOTED, "approved") if approved else (Ruling.KEPT, "rejected")
        return Decision(ruling, f"{self.grounds}; {verb} by {by}")


def decide(challenger: Readout, champion: Readout | None, rule: PromotionSection, incomparable: str = "") -> Decision:
    """Decide by test accuracies.

    Args:
        champion: the champion's answers on the same test split; None without a champion that can be compared.
        rule: by how much the challenger must be better (at 0 it must still be better, not equal), whether the lead must
            be more than luck, and whether a person must approve.
        incomparable: the reason why the current champion can't be compared, if any.
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
    # Accuracies are shares of the same images: half an image's worth of tolerance keeps 0.0100 from missing 0.01.
    if gain < rule.minimum_improvement - 0.5 / challenger.images:
        least = f"less than the page's {rule.minimum_improvement:g}"
        return Decision(Ruling.KEPT, f"{text} is better by {gain:.4f}, {least}")
    p = mcnemar(challenger.hits, champion.hits)
    if rule.significant and p >= SIGNIFICANCE:
        return Decision(Ruling.KEPT, f"{text} may be luck: McNemar's p is {p:.2g}, not below {SIGNIFICANCE:g}")
    return Decision(good, text)
