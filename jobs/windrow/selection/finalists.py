"""The best trials by validation, trained again over seeds; the one whose mean is best is the challenger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from windrow.errors import StudyError
from windrow.sweep.attempt import TrialSpec
from windrow.sweep.outcomes import Outcome
from windrow.sweep.search import trial_spec
from windrow.sweep.seeds import seed_of
from windrow.sweep.study import Asked, Finished
from windrow.training.networks import Builder
from windrow.training.parameters import Value

if TYPE_CHECKING:
    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment


@dataclass(frozen=True)
class Finalist:
    """A trial that was trained again.

    Attributes:
        value: mean of the objective over the seeds that ended ok.
        values: the objective by seed.
        seed: that was best by the objective.
        network: the .keras bytes of that seed.
    """

    trial: Finished
    value: float
    values: tuple[float, ...]
    seed: int
    network: bytes


def specs(page: Experiment, builder: Builder, dataset: Manifest, trials: Sequence[Finished]) -> list[TrialSpec]:
    """One specification a finalist and seed; the first seed is the trial's own, so that it repeats the trial."""
    return [
        trial_spec(page, builder, dataset, Asked(trial.number, repeat + 1, trial.point), seed, keep_network=True)
        for trial in trials
        for repeat, seed in enumerate(seeds(page, trial.number))
    ]


def seeds(page: Experiment, number: int) -> list[int]:
    """The seeds that a finalist is trained with."""
    own = seed_of(page.sweep.seed, number)
    return [own, *(seed_of(page.sweep.seed, number, repeat) for repeat in range(1, page.promotion.seeds))]


def rank(page: Experiment, trials: Sequence[Finished], outcomes: Sequence[Outcome]) -> list[Finalist]:
    """Finalists with at least one seed that ended ok, best mean first; equal ones by number.

    Raises:
        StudyError: none ended ok.
    """
    sign = -1 if page.sweep.direction == "maximize" else 1
    finalists = []
    for trial in trials:
        good = [outcome for outcome in outcomes if outcome.number == trial.number and outcome.network is not None]
        good.sort(key=lambda outcome: (sign * (outcome.value or 0.0), outcome.attempt))
        if good:
            values = tuple(outcome.value for outcome in good if outcome.value is not None)
            seed = seeds(page, trial.number)[good[0].attempt - 1]
            finalists.append(Finalist(trial, mean(values), values, seed, good[0].network or b""))
    if not finalists:
        errors = "; ".join(f"trial {outcome.number}: {outcome.ending.value}" for outcome in outcomes)
        raise StudyError(f"one finalist must train to the end; got {errors}; look at the errors, then sweep again")
    return sorted(finalists, key=lambda finalist: (sign * finalist.value, finalist.trial.number))


def point_text(point: dict[str, Value]) -> str:
    """A point as people write it: learning_rate=0.0012, units=64."""
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in point.items()
    )
