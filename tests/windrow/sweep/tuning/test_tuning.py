"""How a network is trained on images, and what that will take."""

from __future__ import annotations

from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from windrow.experiment import FineTuneSection, parameters
from windrow.sweep.tuning import tuning

HEAD = parameters.defaults("head")


def test_the_trial_decides_all_but_the_steps() -> None:
    trial = {**HEAD, "label_smoothing": 0.2, "optimizer": "sgd", "learning_rate": 0.1, "batch_size": 500}
    found = tuning.parameters(trial, FineTuneSection(learning_rate=1e-5))
    assert (found["optimizer"], found["learning_rate"], found["decay"]) == ("adam", 1e-5, "cosine")
    assert found["batch_size"] == tuning.BATCH
    assert found["label_smoothing"] == 0.2


def test_a_host_has_room_for_the_process_that_asks_and_for_those_that_its_free_memory_holds() -> None:
    assert [tuning.room(available, 300) for available in (0, 299, 300, 1000)] == [1, 1, 2, 4]


@pytest.mark.tensorflow
def test_what_it_takes_is_measured_before_it_begins(backbone: Path) -> None:
    found = tuning.need(backbone, FineTuneSection(blocks=1), HEAD, 3)
    assert (found.first, found.last, found.error) == ("block1_conv", "block1_conv", "")
    assert (found.weights, found.all_weights) == (5 * 5 * 9 + 5, 5 * 3 * 9 + 5 + 20 + 5 * 5 * 9 + 5 + 20)
    assert found.step_seconds > 0
    assert found.trunk_seconds > 0
    assert found.map_bytes == 10 * 10 * 5 * 2
    assert found.mebibytes > 50
    assert 1 <= found.room <= psutil.virtual_memory().total / (found.mebibytes * 2**20)


@pytest.mark.tensorflow
def test_too_many_blocks_are_an_answer_and_no_error_that_spark_would_try_again(backbone: Path) -> None:
    found = tuning.need(backbone, FineTuneSection(blocks=3), HEAD, 3)
    assert found.error.startswith("promotion.fine_tune.blocks must be at most 2 for ")
