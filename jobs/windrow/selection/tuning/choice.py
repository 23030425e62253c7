"""Choose between the winner as it was and after its further training, by validation."""

from __future__ import annotations

import math
from statistics import mean, stdev
from typing import TYPE_CHECKING

from windrow.plural import counted
from windrow.selection.finalists import Finalist, FineTuned

if TYPE_CHECKING:
    from windrow.experiment import FineTuneSection, SweepSection

_FEWEST = 2  # pairs, for a standard error


def choose(before: Finalist, after: Finalist, section: FineTuneSection, sweep: SweepSection) -> FineTuned:
    """Take the fine-tuned finalist if it is better by more than the standard error of the difference over the seeds.

    The difference is paired: each seed's network before and after its further training, on the same validation images,
    those of the data set. A smaller one may be due to the seeds, and then the frozen network is taken, the simpler one.
    With fewer than two pairs, no difference can be judged.

    Args:
        before: the winner.
        after: its repeats after the further training, with the same numbers.
        section: how it was trained further.
        sweep: the objective, and its direction.
    """
    sign = 1 if sweep.direction == "maximize" else -1
    pairs = [
        (repeat.outcome.frozen, repeat.outcome.value)
        for repeat in after.good
        if repeat.outcome.value is not None and repeat.outcome.frozen is not None
    ]
    frozen = mean(known for known, _ in pairs) if pairs else math.nan
    gains = [sign * (value - known) for known, value in pairs]
    what = f"fine-tuning {before.name}"
    if len(gains) < _FEWEST:
        endings = ", ".join(sorted({repeat.outcome.ending.value for repeat in after.repeats})) or "none"
        errors = [
            repeat.outcome.error.strip().splitlines()[-1] for repeat in after.repeats if repeat.outcome.error.strip()
        ]
        reason = (
            f"{what} has no result to judge by: {counted(len(gains), 'seed')} of {len(after.repeats)} ended ok "
            f"({': '.join([endings, *errors[:1]])}); the frozen network is taken"
        )
        difference = gains[0] if gains else math.nan
        return FineTuned(after, section, len(gains), frozen, difference, math.nan, reason, is_chosen=False)
    difference, error = mean(gains), stdev(gains) / math.sqrt(len(gains))
    figures = (
        f"{what}: {sweep.objective} {after.value:.4f} against {frozen:.4f} frozen, "
        f"{'better' if difference > 0 else 'worse' if difference < 0 else 'the same'} by {abs(difference):.4f} "
        f"± {error:.4f} (the standard error over {counted(len(gains), 'seed')})"
    )
    is_chosen = difference > error
    if is_chosen:
        return FineTuned(after, section, len(gains), frozen, difference, error, f"{figures}; it is taken", is_chosen)
    why = "; that is within the noise" if difference > 0 else ""
    reason = f"{figures}{why}; the frozen network is taken"
    return FineTuned(after, section, len(gains), frozen, difference, error, reason, is_chosen)
