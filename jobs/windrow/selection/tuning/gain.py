"""Say what the winner's further training has gained, for the evidence and the result."""

from __future__ import annotations

import math
from collections.abc import Sequence

from windrow.selection import evidence
from windrow.selection.finalists import Final
from windrow.selection.promotion_result import FineTuningFigures


def text(final: Final, found: Sequence[evidence.Row]) -> str:
    """Return what the winner's further training has gained on validation and on the test split; empty without one.

    Args:
        found: the result of `evidence.rows`.
    """
    tuned = final.fine_tuned
    if tuned is None:
        return ""
    reason = f"{tuned.reason[:1].upper()}{tuned.reason[1:]}"
    other = next((row for row in found if row.name in (evidence.FROZEN, evidence.FINE_TUNED)), None)
    if other is None or other.comparison is None:
        return f"{reason}."
    sign, between = 1 if tuned.is_chosen else -1, other.comparison.interval
    low, high = sorted((sign * between.low, sign * between.high))
    shows = "within the noise"
    if low > 0 or high < 0:
        shows = f"which shows that it is {'better' if low > 0 else 'worse'}"
    ahead = f"{sign * other.comparison.difference:+.4f} (95 % interval {low:+.4f} to {high:+.4f})"
    return f"{reason}. On the test images the fine-tuned network is ahead of the frozen one by {ahead}, {shows}."


def figures(final: Final) -> FineTuningFigures | None:
    """Return the winner's further training as JSON values; None without one."""
    tuned = final.fine_tuned
    if tuned is None:
        return None
    return {
        "chosen": tuned.is_chosen,
        "reason": tuned.reason,
        "frozen": tuned.frozen if math.isfinite(tuned.frozen) else None,
        "fine_tuned": tuned.finalist.value if tuned.finalist.good else None,
        "difference": tuned.difference if math.isfinite(tuned.difference) else None,
        "error": tuned.error if math.isfinite(tuned.error) else None,
        "seeds": tuned.pairs,
        "blocks": tuned.section.blocks,
        "epochs": tuned.section.epochs,
        "learning_rate": tuned.section.learning_rate,
    }
