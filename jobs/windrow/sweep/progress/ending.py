"""Describe how a sweep ended, for the job's result."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from windrow.sweep.goals import front
from windrow.sweep.goals.front import FrontTrial
from windrow.sweep.progress import plateau

if TYPE_CHECKING:
    from windrow.data.manifest import Manifest
    from windrow.sweep.study import StudyRecord


class SweepEnding(TypedDict):
    """A part of the result of jobs/sweep.py.

    Attributes:
        stopped: why fewer trials began than the page has (sweep.stop_after); empty if not.
        front: the trials that none dominates, the best value first; empty if the search has one goal.
    """

    stopped: str
    front: list[FrontTrial]


def result(study: StudyRecord, dataset: Manifest) -> SweepEnding:
    """Return how a sweep on this data set ended."""
    found = plateau.of_study(study, dataset)
    stopped = found is not None and plateau.left(found, study.page.sweep) == 0
    return {
        "stopped": found.text if found is not None and stopped else "",
        "front": front.listed(study.finished(), study.page.sweep),
    }
