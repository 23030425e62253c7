"""The rule by which a challenger becomes champion."""

from __future__ import annotations

from dataclasses import dataclass

from windrow.selection.readout import Readout


@dataclass(frozen=True)
class Decision:
    """Whether the champion changes, and why, as one sentence for people."""

    promoted: bool
    reason: str


def decide(
    challenger: Readout, champion: Readout | None, minimum_improvement: float, incomparable: str = ""
) -> Decision:
    """Compare test accuracies.

    Args:
        champion: the champion's figures on the same test split; None if there is none, or it can't be compared.
        minimum_improvement: accuracy by which the challenger must be better; at 0 it must still be better, not equal.
        incomparable: why the current champion can't be compared, if there is one.
    """
    accuracy = f"{challenger.accuracy:.4f}"
    if champion is None:
        why = f"the champion {incomparable}" if incomparable else "there was no champion"
        return Decision(True, f"promoted with test accuracy {accuracy}: {why}")
    gain = challenger.accuracy - champion.accuracy
    told = f"test accuracy {accuracy} against the champion's {champion.accuracy:.4f}"
    if gain <= 0:
        return Decision(False, f"not promoted: {told} is not better")
    # Accuracies are shares of the same images: half an image's worth of tolerance keeps 0.0100 from missing 0.01.
    if gain < minimum_improvement - 0.5 / challenger.images:
        return Decision(
            False, f"not promoted: {told} is better by {gain:.4f}, less than the page's {minimum_improvement:g}"
        )
    return Decision(True, f"promoted: {told}")
