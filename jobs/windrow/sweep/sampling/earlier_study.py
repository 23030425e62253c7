"""Read the trials of an earlier study, for a sampler that learns from them."""

from __future__ import annotations

import json
from pathlib import Path

from windrow.errors import StudyError
from windrow.experiment import Experiment
from windrow.sweep.ledger import FILE, Ledger
from windrow.sweep.sampling.first_points import Point


def earlier_trials(folder: Path, page: Experiment) -> list[tuple[Point, float]]:
    """Return (point, value) of each trial that ended ok in the study in `folder`.

    Raises:
        StudyError: the folder holds no study, or a study with another objective.
    """
    if not (folder / FILE).is_file():
        raise StudyError(f"sweep.warm_start must be the folder of a study; got {folder}; name the --study of a sweep")
    objective = json.loads((folder / "study.json").read_text(encoding="utf-8")).get("objective")
    if objective != page.sweep.objective:
        raise StudyError(
            f"sweep.warm_start must be a study with the same objective, {page.sweep.objective}; {folder} has "
            f"{objective}; change sweep.objective, or leave warm_start out"
        )
    ledger = Ledger(folder, reading=True)
    ledger.close()
    return [(entry.point, entry.value) for entry in ledger.entries() if entry.value is not None]
