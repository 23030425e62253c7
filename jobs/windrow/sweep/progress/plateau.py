"""Decide whether a sweep still finds better trials than before, by more than the noise of its validation images.

found = plateau(study.finished(), page.sweep, images)
found.trials    # how many have ended since the last trial that was clearly better
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from windrow.plural import counted
from windrow.sweep.ledger import Entry

if TYPE_CHECKING:
    from windrow.data.manifest import Manifest
    from windrow.experiment import SweepSection
    from windrow.sweep.study import StudyRecord


@dataclass(frozen=True)
class Plateau:
    """The trials since the last one that was better than those before it by more than noise.

    Attributes:
        leader: that trial; the first that ended ok if none was better later.
        trials: number of trials that have ended, in whatever way, with a higher number than the leader's.
        noise: how much better than the leader a trial must be, in units of the objective.
    """

    leader: Entry
    trials: int
    noise: float

    @property
    def text(self) -> str:
        """Describe why no further trial begins, as a sentence without a period."""
        return (
            f"{counted(self.trials, 'trial')} in a row, the last ones, were not better than trial {self.leader.number} "
            f"({self.leader.value:.4f}) by more than noise ({self.noise:.4f}), so no further trial begins "
            "(sweep.stop_after)"
        )


def noise(value: float, sweep: SweepSection, images: int) -> float:
    """Return the standard error of an objective on `images` validation images, in units of the objective.

    For an accuracy p it is sqrt(p (1 - p) / images), that of a share; macro-F1 is treated as one. For a loss it is
    loss / sqrt(images), that of a mean over images whose losses deviate as much as their mean is large.
    """
    spread = math.sqrt(max(0.0, value * (1 - value))) if sweep.direction == "maximize" else abs(value)
    return spread / math.sqrt(max(1, images))


def plateau(finished: Iterable[Entry], sweep: SweepSection, images: int) -> Plateau | None:
    """Return the trials since the last clear improvement; None before a trial has ended ok.

    Args:
        finished: the trials that have ended for good, in order of number. The order in which they ended has no
            influence.
        images: number of validation images.
    """
    sign, found = 1 if sweep.direction == "maximize" else -1, None
    for trial in finished:
        if trial.value is None:
            found = found and Plateau(found.leader, found.trials + 1, found.noise)
        elif found is None or sign * (trial.value - (found.leader.value or 0.0)) > found.noise:
            found = Plateau(trial, 0, noise(trial.value, sweep, images))
        else:
            found = Plateau(found.leader, found.trials + 1, found.noise)
    return found


def left(found: Plateau | None, sweep: SweepSection) -> int | None:
    """Return how many more trials without a clear improvement end the sweep, at least 0; None without a limit."""
    return None if sweep.stop_after is None else max(0, sweep.stop_after - (found.trials if found else 0))


def of_study(study: StudyRecord, dataset: Manifest) -> Plateau | None:
    """Return the present plateau of a study; None before a trial has ended ok, and without sweep.stop_after."""
    sweep = study.page.sweep
    if sweep.stop_after is None:
        return None
    return plateau(study.finished(), sweep, dataset.splits.get("validation", 0))


def result(study: StudyRecord, dataset: Manifest) -> dict[str, str]:
    """Return the part of the job's result that says why fewer trials began than the page has; an empty text if not."""
    found = of_study(study, dataset)
    return {"stopped": found.text if found is not None and left(found, study.page.sweep) == 0 else ""}
