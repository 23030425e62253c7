"""A real trial whose lease counts no longer when it begins, as where Spark tries a task again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from windrow.channel import Channel
from windrow.experiment import parameters
from windrow.sweep import trial
from windrow.sweep.outcomes import Ending
from windrow.sweep.spec import TrialSpec
from windrow.training import runtime
from windrow.training.networks import Builder


def test_a_trial_that_is_told_to_stop_as_it_begins_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "import_tensorflow", lambda *_: 0.0)
    with Channel("127.0.0.1") as channel:

        def say_that_it_is_lost() -> None:
            for _ in ("began", "ended"):
                channel.inbox.get(timeout=60).answer(Ending.LOST)

        driver = threading.Thread(target=say_that_it_is_lost)
        driver.start()
        values = parameters.defaults("dense")
        spec = TrialSpec(
            3, 1, Builder("dense"), values, (8, 8, 1), 10, 1, "val_accuracy", 1, lease="old", address=channel.address
        )
        outcome = trial.run(spec, tmp_path / "no data set is read")
        driver.join(60)
    assert (outcome.ending, outcome.epochs, outcome.lease) == (Ending.LOST, (), "old")
