"""jobs/sweep.py itself: the same table bit for bit, on any number of workers and with an executor killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.faults,
    pytest.mark.spark,
    pytest.mark.tensorflow,
    pytest.mark.mlflow,
    pytest.mark.timeout(1800),
]

JOBS = Path(__file__).resolve().parents[2] / "jobs"
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


def test_one_table_whatever_the_workers_and_with_an_executor_killed(
    launch: Callable[..., Any], new_study: Callable[..., Any]
) -> None:
    tables = {}
    for slots in (1, 4):
        study = new_study(f"local_{slots}")
        driver = launch(study, *OVERRIDES, master=f"local[{slots}]", script=JOBS / "sweep.py")
        assert driver.wait(280) == 0, driver.tail()
        tables[f"local[{slots}]"] = table(study)

    study = new_study("killed")  # on two workers
    driver = launch(study, *OVERRIDES, master="local-cluster[2,1,1024]", script=JOBS / "sweep.py")
    while not study.settled():  # now trials train: some are settled, some are under way
        assert driver.wait(0.05) is None, driver.tail()
    driver.victims()["executor"][0].kill()
    assert driver.wait(280) == 0, driver.tail()
    tables["killed"] = table(study)

    assert len(tables["local[1]"]) == 6
    assert all(found == tables["local[1]"] for found in tables.values()), tables
