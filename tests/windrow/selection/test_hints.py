"""What a training's curves suggest."""

from __future__ import annotations

import math

import pytest
from windrow.experiment import SweepSection
from windrow.selection.hints import hints
from windrow.training.loop import Epoch


def curve(*losses: float, train: float = 0.1, accuracy: float = 0.9, val_accuracy: float = 0.88) -> list[Epoch]:
    """Epochs with these validation losses."""
    return [Epoch(train, accuracy, loss, val_accuracy, 1.0) for loss in losses]


FALLING, FLAT = (1.0, 0.9, 0.8, 0.7, 0.6), (1.0, 0.5, 0.45, 0.449, 0.4489)


def test_a_network_that_has_learned_has_none() -> None:
    assert hints(curve(*FLAT), 10) == ()


@pytest.mark.parametrize(("losses", "epochs"), [(FALLING, 5), ((1.0,), 1), ((1.0, 0.9), 2)])
def test_a_loss_that_still_falls_asks_for_more_epochs(losses: tuple[float, ...], epochs: int) -> None:
    assert hints(curve(*losses), 10) == (
        f"the validation loss still falls at epoch {epochs}, the last one: raise sweep.epochs",
    )


@pytest.mark.parametrize(("epochs", "patience", "key"), [(10, 2, "patience"), (5, 2, "epochs"), (10, None, "epochs")])
def test_a_training_that_ended_early_asks_for_more_patience(epochs: int, patience: int | None, key: str) -> None:
    (hint,) = hints(curve(*FALLING), 10, SweepSection(epochs=epochs, patience=patience))
    assert hint == f"the validation loss still falls at epoch 5, the last one: raise sweep.{key}"


@pytest.mark.parametrize("losses", [FLAT, (*FALLING, 0.65), (1.0, 0.99995)])
def test_a_loss_that_has_stopped_falling_asks_for_none(losses: tuple[float, ...]) -> None:
    assert hints(curve(*losses), 10) == ()


def test_a_long_training_is_judged_by_its_last_fifth_because_an_epoch_alone_moves_little() -> None:
    slow = [0.9 * 0.998**epoch for epoch in range(100)]
    (hint,) = hints(curve(*slow), 10)
    assert "still falls at epoch 100" in hint


def test_a_network_that_knows_its_training_images_by_heart_asks_for_more_of_them() -> None:
    (hint,) = hints(curve(*FLAT, accuracy=0.99, val_accuracy=0.39), 3)
    assert hint.startswith("training accuracy 0.99 against 0.39 on validation: add images, augment them")


@pytest.mark.parametrize("train", [math.log(3), 1.5, 40.0])
def test_a_training_that_does_no_better_than_guessing_asks_for_a_lower_rate(train: float) -> None:
    (hint,) = hints(curve(1.1, 1.1, 1.1, train=train), 3)
    assert hint.startswith(
        f"the training loss ends at {train:.2f}, and guessing among 3 classes has 1.10: search lower"
    )


def test_without_an_epoch_there_is_none() -> None:
    assert hints([], 3) == ()
