"""Decide whether a challenger becomes champion."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from windrow.plural import counted
from windrow.selection.readout import Readout
from windrow.selection.statistics import mcnemar, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from windrow.experiment import PromotionSection
    from windrow.selection.common_images import Rival

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


def decide(
    challenger: Readout,
    rival: Rival | None,
    rule: PromotionSection,
    hints: Sequence[str] = (),
    different: NDArray[np.bool_] | None = None,
) -> Decision:
    """Return the decision about a challenger, by the test accuracies.

    A challenger that may be guessing is never promoted. One that can't be compared with the champion by the rule alone
    is left to a person, whatever the page says about approval.

    Args:
        challenger: the challenger's predictions on the test split.
        rival: the current champion; None without a champion.
        rule: how much better the challenger must be (at 0 it must still be better, not equal), whether the lead must be
            statistically significant, and whether a person must approve.
        hints: what may give a better network, for the reason if the challenger may be guessing.
        different: bool (n,), True for test images that are not copies of an earlier one. Only these show whether the
            challenger may be guessing. None for all.
    """
    good = Ruling.AWAITING_APPROVAL if rule.approval else Ruling.PROMOTED
    distinct = challenger if different is None or different.all() else challenger.on(different)
    if guesses(distinct):
        return _guessing(distinct, challenger.images, rival, hints)
    alone = f" with test accuracy {challenger.accuracy:.4f}, guessing {challenger.baseline:.4f}"
    if rival is None:
        return Decision(good, f"{alone}: there was no champion")
    if rival.readout is None:
        doubt = f"the champion {rival.common.doubt} ({rival.champion.recorded})"
        return Decision(Ruling.AWAITING_APPROVAL, f"{alone}: {doubt}")
    mine = rival.same_images(challenger)
    text = f": {_compared(mine, rival.readout, challenger.images)}"
    if rival.common.doubt:
        return Decision(Ruling.AWAITING_APPROVAL, f"{text}; the champion {rival.common.doubt}")
    return _by_rule(mine, rival.readout, rule, good, text)


def guesses(challenger: Readout) -> bool:
    """Return whether the test accuracy may be that of guessing: its interval reaches down to the baseline."""
    return wilson(challenger.images - challenger.errors, challenger.images).low <= challenger.baseline


def _by_rule(challenger: Readout, champion: Readout, rule: PromotionSection, good: Ruling, text: str) -> Decision:
    gained = champion.errors - challenger.errors
    gain = gained / challenger.images
    if gained <= 0:
        return Decision(Ruling.KEPT, f"{text} is not better")
    # The tolerance is for rounding: 1 image of 100 must not miss a minimum of 0.01, but must miss one of 0.011.
    if gain < rule.minimum_improvement - 1e-9:
        least = f"less than the page's {rule.minimum_improvement:g}"
        return Decision(Ruling.KEPT, f"{text} is better by {gain:.4f}, {least}")
    p = mcnemar(challenger.hits, champion.hits)
    if rule.significant and p >= SIGNIFICANCE:
        return Decision(Ruling.KEPT, f"{text} may be luck: McNemar's p is {p:.2g}, not below {SIGNIFICANCE:g}")
    return Decision(good, text)


def _compared(challenger: Readout, champion: Readout, images: int) -> str:
    part = "" if challenger.images == images else f" on {challenger.images} of {counted(images, 'test image')}"
    accuracies = f"test accuracy {challenger.accuracy:.4f} against the champion's {champion.accuracy:.4f}"
    return f"{accuracies}{part} (guessing {challenger.baseline:.4f})"


def _guessing(challenger: Readout, images: int, rival: Rival | None, hints: Sequence[str]) -> Decision:
    interval = wilson(challenger.images - challenger.errors, challenger.images)
    stays = "there is still no champion" if rival is None else f"version {rival.champion.version} stays champion"
    copies = "" if challenger.images == images else f" that differ, of {counted(images, 'test image')},"
    cure = "; ".join(hints) or "train longer, search more points, or add images"
    return Decision(
        Ruling.KEPT,
        f": test accuracy {challenger.accuracy:.4f} may be guessing, because its 95 % interval on "
        f"{counted(challenger.images, 'image')}{copies or ','} {interval.low:.4f} to {interval.high:.4f}, is not above "
        f"{challenger.baseline:.4f}, the share of the most frequent class; {stays}; {cure}",
    )
