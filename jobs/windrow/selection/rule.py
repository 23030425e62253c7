"""Decide whether a challenger becomes champion."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from windrow.plural import counted
from windrow.selection.measures import Measure, measure_of
from windrow.selection.readout import Readout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from windrow.experiment import PromotionSection
    from windrow.selection.common_images import Rival


class Ruling(StrEnum):
    """The possible decisions about a challenger."""

    PROMOTED = "promoted"
    KEPT = "kept"
    AWAITING_APPROVAL = "awaiting_approval"


_ROUNDING = 1e-9
"""Differences of two figures up to this value are none: macro-F1 adds the classes in the network's own order."""

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
    objective: str = "val_accuracy",
) -> Decision:
    """Return the decision about a challenger, by test accuracy or, if the page searches for macro-F1, by that.

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
        objective: the validation metric that the page searches for, which chooses the figure: see measures.py.
    """
    measure = measure_of(objective)
    good = Ruling.AWAITING_APPROVAL if rule.approval else Ruling.PROMOTED
    distinct = challenger if different is None or different.all() else challenger.on(different)
    if guesses := _guessing(distinct, challenger.images, measure, rival, hints):
        return guesses
    alone = f" with {measure.name} {measure.of(challenger):.4f}, guessing {measure.baseline(challenger.truth):.4f}"
    if rival is None:
        return Decision(good, f"{alone}: there was no champion")
    if rival.readout is None:
        doubt = f"the champion {rival.common.doubt or rival.common.too_few} ({rival.champion.recorded})"
        return Decision(Ruling.AWAITING_APPROVAL, f"{alone}: {doubt}")
    mine = rival.same_images(challenger)
    text = f": {_compared(mine, rival.readout, challenger.images, measure)}"
    if rival.common.doubt:
        return Decision(Ruling.AWAITING_APPROVAL, f"{text}; the champion {rival.common.doubt}")
    return _by_rule(mine, rival.readout, rule, measure, good, text, rival.common.too_few)


def _by_rule(
    challenger: Readout,
    champion: Readout,
    rule: PromotionSection,
    measure: Measure,
    good: Ruling,
    text: str,
    too_few: str,
) -> Decision:
    gain = measure.of(challenger) - measure.of(champion)
    if gain <= _ROUNDING:
        return Decision(Ruling.KEPT, f"{text} is not better")
    # The tolerance is for rounding: 1 image of 100 must not miss a minimum of 0.01, but must miss one of 0.011.
    if gain < rule.minimum_improvement - _ROUNDING:
        least = f"less than the page's {rule.minimum_improvement:g}"
        return Decision(Ruling.KEPT, f"{text} is better by {gain:.4f}, {least}")
    if too_few:
        return Decision(Ruling.AWAITING_APPROVAL, f"{text}; the champion {too_few}")
    if rule.significant and (luck := measure.luck(challenger, champion)):
        return Decision(Ruling.KEPT, f"{text} may be luck: {luck}")
    # The smallest lead there is says nothing about a margin that is smaller still: one image less, and there is none.
    one_image = 1 / challenger.images
    if 0 < rule.minimum_improvement < one_image - _ROUNDING and gain <= one_image + _ROUNDING:
        small = f"is better by {gain:.4f}, no more than one image of {challenger.images:,}"
        page = f"which can't show the page's {rule.minimum_improvement:g}"
        return Decision(Ruling.AWAITING_APPROVAL, f"{text} {small}, {page}")
    return Decision(good, text)


def _compared(challenger: Readout, champion: Readout, images: int, measure: Measure) -> str:
    part = "" if challenger.images == images else f" on {challenger.images} of {counted(images, 'test image')}"
    figures = f"{measure.name} {measure.of(challenger):.4f} against the champion's {measure.of(champion):.4f}"
    return f"{figures}{part} (guessing {measure.baseline(challenger.truth):.4f})"


def _guessing(
    challenger: Readout, images: int, measure: Measure, rival: Rival | None, hints: Sequence[str]
) -> Decision | None:
    """Return the decision if the challenger may be guessing: its interval reaches down to the baseline; else None."""
    interval, baseline = measure.interval(challenger), measure.baseline(challenger.truth)
    if interval.low > baseline:
        return None
    stays = "there is still no champion" if rival is None else f"version {rival.champion.version} stays champion"
    copies = "" if challenger.images == images else f" that differ, of {counted(images, 'test image')},"
    one_class = ["all test images are of one class: add images of other classes"] if baseline == 1 else []
    cure = "; ".join([*one_class, *hints]) or "train longer, search more points, or add images"
    return Decision(
        Ruling.KEPT,
        f": {measure.name} {measure.of(challenger):.4f} may be guessing, because its 95 % interval on "
        f"{counted(challenger.images, 'image')}{copies or ','} {interval.low:.4f} to {interval.high:.4f}, is not above "
        f"{baseline:.4f}, {measure.guessing}; {stays}; {cure}",
    )
