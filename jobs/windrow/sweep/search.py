"""What passes between the study, Spark and MLflow while trials run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from windrow.errors import BuilderError
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.study import Asked, Study, seed_of
from windrow.sweep.trial import TrialSpec
from windrow.training.networks import Builder
from windrow.training.parameters import Value

if TYPE_CHECKING:
    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment
    from windrow.tracking import SweepLog

ATTEMPTS = 3  # at a trial whose worker or executor was lost


def trial_spec(
    page: Experiment, builder: Builder, dataset: Manifest, asked: Asked, seed: int, keep_network: bool = False
) -> TrialSpec:
    """A point with everything else that training it takes."""
    return TrialSpec(
        number=asked.number,
        attempt=asked.attempt,
        builder=builder,
        parameters=parameters_of(page, asked.point),
        shape=dataset.shape,
        classes=len(dataset.labels),
        epochs=page.sweep.epochs,
        objective=page.sweep.objective,
        seed=seed,
        threads=page.sweep.cores,
        keep_network=keep_network,
    )


def parameters_of(page: Experiment, point: dict[str, Value]) -> dict[str, Value]:
    """Every hyper-parameter of a trial: its point on top of the page's default configuration."""
    return {**page.network.defaults(), **point}


class Search:
    """Asks the study for trials, and carries each outcome to MLflow and then to the study.

    MLflow first: a driver that dies in between trains that trial again, and its run is replaced.
    """

    def __init__(self, page: Experiment, builder: Builder, dataset: Manifest, study: Study, log: SweepLog) -> None:
        self._page = page
        self._builder = builder
        self._dataset = dataset
        self._study = study
        self._log = log
        self._running: dict[int, tuple[Asked, str]] = {}

    def next_spec(self) -> TrialSpec | None:
        """The next trial to train; None when the study has asked for all of them."""
        asked = self._study.ask()
        return None if asked is None else self._begin(asked)

    def take(self, outcome: Outcome) -> TrialSpec | None:
        """Record an outcome. Gives back another attempt where the worker was lost.

        Raises:
            BuilderError: a user's file can't be imported, or gives no network, and no trial has gone well yet.
        """
        asked, run_id = self._running.pop(outcome.number)
        self._log.end_trial(run_id, outcome)
        if outcome.ending is Ending.LOST and outcome.attempt < ATTEMPTS:
            return self._begin(self._study.again(asked))
        self._study.tell(asked, outcome)
        self._print_progress(outcome)
        self._stop_if_builder_is_broken(outcome)
        return None

    def _begin(self, asked: Asked) -> TrialSpec:
        seed = seed_of(self._page.sweep.seed, asked.number)
        spec = trial_spec(self._page, self._builder, self._dataset, asked, seed)
        self._running[asked.number] = asked, self._log.begin_trial(self._study, asked, spec.parameters, seed)
        return spec

    def _print_progress(self, outcome: Outcome) -> None:
        ranked = self._study.ranked()
        best = f"best {ranked[0].value:.4f} (trial {ranked[0].number})" if ranked else "no trial ok yet"
        value = f"{outcome.value:.4f}" if outcome.value is not None else outcome.ending.value
        line = (
            f"[{len(self._study.finished())}/{self._study.budget}] trial {outcome.number}: "
            f"{self._page.sweep.objective} {value} in {outcome.seconds:.1f} s; {best}"
        )
        print(line, file=sys.stderr, flush=True)

    def _stop_if_builder_is_broken(self, outcome: Outcome) -> None:
        mistake = outcome.error.strip().rpartition("BuilderError: ")
        if outcome.ending is Ending.FAILED and mistake[1] and not self._study.ranked():
            raise BuilderError(mistake[2].splitlines()[0])
