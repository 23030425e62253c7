"""Find the mistakes among a page's keys that promotion.prefer: smallest brings with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windrow.experiment.promotion_section import PromotionSection
from windrow.experiment.rules.fine_tune import FEWEST_SEEDS
from windrow.experiment.sections import SweepSection
from windrow.experiment.wording import Key, Mistake, shown

_FEWEST_FINALISTS = 2


def mistakes(promotion: Mapping[str, object], sweep: Mapping[str, object], wrong: set[Key]) -> Iterator[Mistake]:
    """Yield what promotion.prefer, promotion.tolerance and the rest of the page, as they are written, contradict.

    Args:
        wrong: keys that are wrong by themselves; they are skipped.
    """

    def value(name: str) -> Any:
        """Return a key's value; None if it is wrong by itself."""
        key = ("promotion", name)
        return None if key in wrong else promotion.get(name, PromotionSection.model_fields[name].default)

    prefer, tolerance, is_folded = value("prefer"), value("tolerance"), value("train_on") == "all"
    if prefer == "best" and tolerance is not None:
        message = (
            f"must be empty where the best finalist wins; got {shown(tolerance)}; add prefer: smallest, or drop it"
        )
        yield ("promotion", "tolerance"), message
    if prefer != "smallest":
        return
    if tolerance is None and ("promotion", "tolerance") not in wrong:
        message = "is missing, and prefer: smallest needs it; add how much worse the smallest may be, for example 0.002"
        yield ("promotion", "tolerance"), message
    seeds, count = value("seeds"), value("finalists")
    if seeds is not None and isinstance(seeds, int) and seeds < FEWEST_SEEDS:
        message = f"must be at least {FEWEST_SEEDS} with prefer: smallest, which one seed can't judge; got {seeds}"
        yield ("promotion", "seeds"), f"{message}; for example 5"
    if not is_folded and isinstance(count, int) and count < _FEWEST_FINALISTS:
        message = f"must be at least {_FEWEST_FINALISTS} with prefer: smallest, which chooses among them; got {count}"
        yield ("promotion", "finalists"), f"{message}; raise it"
    known = {("sweep",), ("sweep", "objective"), ("sweep", "objectives"), ("promotion", "train_on")}
    objective = _objective(sweep)
    if not known & wrong and not is_folded and objective != "val_accuracy":
        message = f"must be best where {objective} is the objective: networks are compared by the images that they get"
        yield ("promotion", "prefer"), f"{message} right; got smallest; take val_accuracy, or drop it"


def _objective(sweep: Mapping[str, object]) -> object:
    """Return the objective of a written section; that of the first of two goals if it is not written."""
    goals = sweep.get("objectives")
    first = goals[0] if isinstance(goals, list | tuple) and goals else SweepSection.model_fields["objective"].default
    return sweep.get("objective", first)
