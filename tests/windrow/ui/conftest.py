"""Studies as a sweep makes them, with outcomes as executors report them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from windrow import experiment
from windrow.sweep.ledger import Lease
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.study import Study, open_study
from windrow.training.loop import Epoch

PAGE = """
name: digits
space:
  learning_rate: {{type: float, low: 1e-4, high: 1e-1, log: true}}
  units: {{type: int, low: 16, high: 128}}
sweep: {{trials: {trials}, epochs: 2, sampler: random, objective: {objective}}}
"""


def end(study: Study, asked: Lease, ending: Ending = Ending.OK, value: float | None = 0.9, loss: float = 0.3) -> None:
    """Settle an attempt as an executor's report would."""
    epochs = (Epoch(0.7, 0.8, 0.6, 0.85, 0.1), Epoch(loss, 0.9, loss, 0.9, 0.1))
    worth = value if ending is Ending.OK else None
    outcome = Outcome(
        asked.number, asked.attempt, ending, worth, epochs, 1.5, error="see /home/secret", lease=asked.token
    )
    study.settle(outcome)


@pytest.fixture
def opened() -> Callable[..., AbstractContextManager[Study]]:
    """open_study of a small page: opened(folder, trials=3)."""

    @contextmanager
    def make(folder: Path, trials: int = 3, objective: str = "val_accuracy") -> Iterator[Study]:
        page = experiment.parse(PAGE.format(trials=trials, objective=objective))
        with open_study(folder, page, "d" * 64) as study:
            yield study

    return make
