from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from windrow.data import shards
from windrow.sweep import schedule
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.trial import TrialSpec
from windrow.training import parameters
from windrow.training.networks import Builder

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow]


@pytest.fixture(scope="module")
def shipped(spark: Any, digits: Path) -> Any:
    schedule.ship(spark, shards.split_files(digits, "train", "validation"))
    return spark


def spec(number: int, body: str | None = None) -> TrialSpec:
    builder = Builder("dense") if body is None else Builder("mine.py:build", f"def build(**_):\n    {body}\n", "build")
    return TrialSpec(
        number, 1, builder, parameters.defaults(builder.name), (8, 8, 1), 10, epochs=1, objective="val_accuracy", seed=1
    )


def test_trials_run_side_by_side_and_all_come_back(shipped: Any) -> None:
    outcomes = schedule.run_each(shipped, 2, [spec(number) for number in range(6)])
    assert sorted(outcome.number for outcome in outcomes) == list(range(6))
    assert all(outcome.ending is Ending.OK for outcome in outcomes)


def test_no_trial_pays_the_import_twice_in_one_worker(shipped: Any) -> None:
    schedule.run_each(shipped, 2, [spec(number) for number in range(4)])
    outcomes = schedule.run_each(shipped, 2, [spec(number) for number in range(4)])
    assert [outcome.import_seconds for outcome in outcomes] == [0.0] * 4


def test_a_trial_that_kills_its_worker_is_lost_and_the_others_go_on(shipped: Any) -> None:
    killer = spec(1, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    outcomes = schedule.run_each(shipped, 2, [spec(0), killer, spec(2)])
    endings = {outcome.number: outcome.ending for outcome in outcomes}
    assert endings == {0: Ending.OK, 1: Ending.LOST, 2: Ending.OK}
    assert next(outcome.error for outcome in outcomes if outcome.number == 1)


def test_a_lost_trial_can_be_tried_again_at_once(shipped: Any) -> None:
    killer = spec(1, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    waiting = iter([killer])
    seen: list[Ending] = []

    def take(outcome: Outcome) -> TrialSpec | None:
        seen.append(outcome.ending)
        return spec(1) if outcome.ending is Ending.LOST else None

    schedule.run(shipped, 1, lambda: next(waiting, None), take)
    assert seen == [Ending.LOST, Ending.OK]


def test_an_error_while_recording_ends_the_sweep_with_that_error(shipped: Any) -> None:
    def take(_: Outcome) -> None:
        raise OSError("no space left")

    waiting = iter([spec(number) for number in range(3)])
    with pytest.raises(OSError, match="no space left"):
        schedule.run(shipped, 2, lambda: next(waiting, None), take)


def test_slots_are_what_the_cores_allow_or_what_the_page_wants(spark: Any) -> None:
    assert schedule.slots(spark, 1, None) == 2
    assert schedule.slots(spark, 2, None) == 1
    assert schedule.slots(spark, 1, 1) == 1
    assert schedule.slots(spark, 1, 50) == 2
    assert schedule.slots(spark, 64, None) == 1
