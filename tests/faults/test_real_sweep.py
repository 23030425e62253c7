"""jobs/sweep.py itself: the same table bit for bit, on any number of workers and with an executor killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.jobs import JOBS, Finished

pytestmark = [pytest.mark.faults, pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]

OVERRIDES = (
    *("sweep.deterministic=true", "sweep.generation=3", "sweep.sampler=tpe", "sweep.pruner=none"),
    *("sweep.trials=6", "sweep.epochs=2"),
)


def table(study: Any) -> list[tuple[Any, ...]]:
    """Number, point, ending, value, and every epoch's losses and accuracies."""
    return [
        (
            *(entry.number, entry.point, entry.outcome.ending, entry.outcome.value),
            *((epoch.loss, epoch.accuracy, epoch.val_loss, epoch.val_accuracy) for epoch in entry.outcome.epochs),
        )
        for entry in study.entries()
    ]


def swept(study: Any, run_job: Callable[..., Finished], digits: Path, slots: int) -> list[tuple[Any, ...]]:
    finished = run_job("sweep", *study.arguments(digits, (*OVERRIDES, f"sweep.slots={slots}")))
    assert finished.code == 0, finished.output
    assert finished.result["slots"] == slots
    return table(study)


def test_a_deterministic_sweep_gives_one_table_on_one_worker_and_on_two(
    run_job: Callable[..., Finished], new_study: Callable[..., Any], digits: Path
) -> None:
    one, two = (swept(new_study(f"slots_{slots}"), run_job, digits, slots) for slots in (1, 2))
    assert len(one) == 6
    assert one == two


@pytest.mark.submit
def test_a_deterministic_sweep_gives_the_same_table_with_an_executor_killed(
    launch: Callable[..., Any], run_job: Callable[..., Finished], new_study: Callable[..., Any], digits: Path
) -> None:
    study = new_study("killed")
    driver = launch(study, *OVERRIDES, master="local-cluster[2,1,1024]", script=JOBS / "sweep.py")
    driver.wait_for_settled(study, 1)  # now trials train: some are settled, some are under way
    driver.kill("executor")
    assert driver.wait(280) == 0, driver.tail()
    assert len(table(study)) == 6
    assert table(study) == swept(new_study("whole"), run_job, digits, 1)
