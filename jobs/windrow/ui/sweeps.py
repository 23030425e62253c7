"""List the sweeps of a train DAG, and return the present state of one for the Windrow page."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TypedDict

from windrow.data import manifest
from windrow.data.manifest import Manifest
from windrow.errors import AbsentError, DatasetError
from windrow.experiment.parameters import Value
from windrow.experiment.values import OBJECTIVE_DIRECTIONS
from windrow.sweep.outcomes import Ending
from windrow.ui import ledgers, sweep_heat_map
from windrow.ui.ledgers import TrialSummary
from windrow.ui.sweep_heat_map import ShownHeatMap

_MOST_STUDIES = 30
_MOST_SHOWN = 5000
_STOPPED = {"failed", "upstream_failed", "skipped", "removed"}
_RUN = re.compile(r"^(?P<kind>[a-z_]+?)__(?P<day>\d{4}-\d\d-\d\d)T(?P<hour>\d\d)[-:](?P<minute>\d\d)")


class RankedTrial(TypedDict):
    """A trial that ended ok; `rank` counts from 1, `value` is the objective, `seconds` is wall-clock time."""

    rank: int
    trial: int
    value: float | None
    seconds: float
    point: dict[str, Value]


class NoHeatMap(TypedDict):
    """A sentence that is shown in place of a heat map."""

    absent: str


class ShownSweep(TypedDict):
    """A sweep on the Windrow page.

    Attributes:
        key: the name of the run's folder.
        words: the run's name as shown.
        objective: the metric that the search optimizes.
        falls: whether less is better.
        budget: trials that the study may begin; None if unknown.
        trials: number of trials in the ledger, each `finished`, in `training`, or `waiting` for an attempt.
        stopped: whether the sweep's task has ended without success, so that nothing trains.
        outcomes: numbers of finished trials by ending.
        seconds_left: estimate for the trials that are left, by the mean duration of those that have ended and the
            number that train now; None before the first one has ended, and while nothing trains.
        changed: Unix time of the ledger's last change, seconds.
        guessing: the validation accuracy of guessing the most frequent class; None if that is not the objective, or if
            the data set is gone or from an old version.
        warnings: sentences on what makes figures on the data set less certain.
        parameters: hyper-parameters that differ among trials.
        ranked: number of trials that ended ok; `best` lists the first ones.
    """

    key: str
    words: str
    objective: str
    falls: bool
    budget: int | None
    trials: int
    finished: int
    training: int
    waiting: int
    stopped: bool
    outcomes: dict[str, int]
    seconds_left: float | None
    changed: float
    guessing: float | None
    warnings: list[str]
    parameters: list[str]
    ranked: int
    best: list[RankedTrial]
    heat_map: ShownHeatMap | NoHeatMap


@dataclass(frozen=True)
class Sweep:
    """A study in a run's folder; `key` is the run folder's name."""

    key: str
    folder: Path

    @property
    def stamp(self) -> str:
        """Return a text that changes when the sweep's ledger does."""
        return f"{self.key} {ledgers.stamp(self.folder)}"

    @property
    def dataset(self) -> Manifest | None:
        """Return the description of the run's data set; None if it is gone or can't be read."""
        try:
            return manifest.read(self.folder.with_name("dataset"))
        except DatasetError:
            return None

    @property
    def words(self) -> str:
        """Return the run's name as shown: manual, 2026-11-25 16:33 UTC."""
        found = _RUN.match(self.key)
        if not found:
            return self.key
        return f"{found['kind'].replace('_', ' ')}, {found['day']} {found['hour']}:{found['minute']} UTC"


def find(runs: Path) -> list[Sweep]:
    """Return up to 30 sweeps among a DAG's runs, the last changed first. `runs`: the folder of the DAG's runs."""
    folders = [folder for folder in runs.iterdir() if folder.is_dir()] if runs.is_dir() else []
    found = [Sweep(folder.name, folder / "study") for folder in folders if ledgers.exists(folder / "study")]
    return sorted(found, key=lambda sweep: -ledgers.changed_at(sweep.folder))[:_MOST_STUDIES]


def choose(runs: Path, key: str | None) -> Sweep:
    """Return the sweep with this key; the newest sweep if the key is None.

    Raises:
        AbsentError: no sweep has this key, or no sweep exists.
    """
    if key is None:
        found = find(runs)
        if not found:
            raise AbsentError(f"No sweep has run yet. Trigger {runs.name}, and its trials appear here as they end.")
        return found[0]
    if key in {"", ".", ".."} or "/" in key or "\0" in key:
        raise AbsentError("This sweep does not exist. Choose another one.")
    if not ledgers.exists(runs / key / "study"):
        raise AbsentError("This run has no sweep: its study has not begun, or is gone from the disk.")
    return Sweep(key, runs / key / "study")


def show(
    sweep: Sweep, most: int = 50, x: str | None = None, y: str | None = None, task: str | None = None
) -> ShownSweep:
    """Return a sweep for the Windrow page: its progress, its best trials, and its heat map.

    Args:
        sweep: the sweep to show.
        most: number of best trials to list.
        x, y: hyper-parameters of the heat map; in place of None, and of one that does not differ among trials, the
            first of heat_map.parameters is taken.
        task: the state of the sweep's task in Airflow; None before it has one.

    Raises:
        AbsentError: the sweep's ledger can't be read.
    """
    trials = ledgers.read(sweep.folder)
    study = _identity(sweep.folder)
    objective = str(study.get("objective", "val_accuracy"))
    falls = OBJECTIVE_DIRECTIONS.get(objective) == "minimize"
    ranked = rank(trials, falls)
    budget = str(study.get("trials", ""))
    endings = Counter(trial.ending for trial in trials if trial.ending)
    stopped = task in _STOPPED
    # A killed sweep leaves its trials in training in the ledger, until the next one trains them again.
    training = 0 if stopped else sum(trial.training for trial in trials)
    dataset = sweep.dataset
    return {
        "key": sweep.key,
        "words": sweep.words,
        "objective": objective,
        "falls": falls,
        "budget": int(budget) if budget.isdigit() else None,
        "trials": len(trials),
        "finished": endings.total(),
        "training": training,
        "waiting": len(trials) - endings.total() - training,
        "stopped": stopped,
        "outcomes": {ending.value: endings[ending] for ending in Ending if endings[ending]},
        "seconds_left": _seconds_left(trials, int(budget) if budget.isdigit() else len(trials), training),
        "changed": round(ledgers.changed_at(sweep.folder), 1),
        "guessing": dataset.guessing("validation") if dataset and objective == "val_accuracy" else None,
        "warnings": dataset.short_warnings if dataset else [],
        "parameters": sweep_heat_map.parameters(trials),
        "ranked": len(ranked),
        "best": [_line(place, trial) for place, trial in enumerate(ranked[: min(most, _MOST_SHOWN)], start=1)],
        "heat_map": _heat_map(trials, x, y, falls, not falls),
    }


def _seconds_left(trials: Sequence[TrialSummary], budget: int, training: int) -> float | None:
    durations = [trial.seconds for trial in trials if trial.ending]
    if not durations or not training:
        return None
    return round(max(0, budget - len(durations)) * mean(durations) / training, 1)


def rank(trials: Sequence[TrialSummary], falls: bool) -> list[TrialSummary]:
    """Return the trials that ended ok, best first; trials with equal values by number."""
    ok = [trial for trial in trials if trial.value is not None and math.isfinite(trial.value)]
    return sorted(ok, key=lambda trial: ((trial.value or 0.0) * (1 if falls else -1), trial.number))


def _line(place: int, trial: TrialSummary) -> RankedTrial:
    return {
        "rank": place,
        "trial": trial.number,
        "value": trial.value,
        "seconds": round(trial.seconds, 2),
        "point": trial.point,
    }


def _heat_map(
    trials: Sequence[TrialSummary], x: str | None, y: str | None, falls: bool, share: bool
) -> ShownHeatMap | NoHeatMap:
    ended = [trial for trial in trials if trial.ending]
    names = sweep_heat_map.parameters(ended)
    if len(names) < 2:
        return {"absent": "A heat map needs two hyper-parameters that differ among the trials that have ended."}
    first = x if x in names else next(name for name in names if name != y)
    second = y if y in names and y != first else next(name for name in names if name != first)
    return sweep_heat_map.fill(ended, first, second, falls, share)


def _identity(folder: Path) -> dict[str, object]:
    try:
        values = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
