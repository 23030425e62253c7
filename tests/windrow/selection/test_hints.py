"""What a training's curves suggest."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from windrow.data.manifest import Manifest
from windrow.experiment import SweepSection, parse
from windrow.selection.hints import hints, of_training, validation_baseline
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


def test_a_head_that_knows_its_training_images_by_heart_asks_for_views_because_it_knows_no_augmentation() -> None:
    (hint,) = of_training(
        curve(*FLAT, accuracy=0.99, val_accuracy=0.39),
        parse("name: a\ndataset: {source: /photos}\nnetwork: {backbone: lite0}"),
        manifest({}),
    )
    assert "add images, give each more views, or search" in hint
    assert "augment" not in hint


@pytest.mark.parametrize("train", [math.log(3), 1.5, 40.0])
def test_a_training_that_does_no_better_than_guessing_asks_for_a_lower_rate(train: float) -> None:
    (hint,) = hints(curve(1.1, 1.1, 1.1, train=train), 3)
    assert hint.startswith(
        f"the training loss ends at {train:.2f}, and guessing among 3 classes has 1.10: search lower"
    )


OBJECTIVE, WEIGHTS = "sweep.objective: val_macro_f1", "network.parameters.class_weight: balanced"


@pytest.mark.parametrize(
    ("page", "images", "cure"),
    [
        ("", {"fine": 95, "broken": 5}, f"{OBJECTIVE} and {WEIGHTS}"),
        ("sweep: {objective: val_macro_f1}", {"fine": 75, "broken": 25}, WEIGHTS),
        ("network: {parameters: {class_weight: balanced}}", {"fine": 75, "broken": 25}, OBJECTIVE),
        ("", {"fine": 74, "broken": 26}, ""),
        ("", {"fine": 30, **{str(number): 10 for number in range(9)}}, f"{OBJECTIVE} and {WEIGHTS}"),
        ("", {"fine": 29, **{str(number): 10 for number in range(9)}}, ""),
        ("", {}, ""),
    ],
)
def test_a_class_that_outweighs_the_others_asks_for_macro_f1_and_weights(
    page: str, images: dict[str, int], cure: str
) -> None:
    space = "space: {learning_rate: {type: float, low: 1e-4, high: 1e-2}}"
    found = of_training(curve(*FLAT), parse(f"name: a\n{space}\n{page}"), manifest(images))
    share = images.get("fine", 0) / max(1, sum(images.values()))
    where = " in accuracy and loss" if cure == OBJECTIVE else ""
    said = f"fine has {share:.0%} of the training images, so other classes hardly count{where}: set {cure}"
    assert found == ((said,) if cure else ())


def test_a_head_of_the_default_space_weighs_classes_and_is_asked_for_macro_f1_alone() -> None:
    page = parse("name: a\ndataset: {source: photos}\nnetwork: {backbone: lite0}\n")
    (found,) = of_training(curve(*FLAT), page, manifest({"ants": 110, "bees": 10}))
    assert (
        found
        == f"ants has 92% of the training images, so other classes hardly count in accuracy and loss: set {OBJECTIVE}"
    )


def test_macro_f1_with_weights_that_the_search_may_choose_needs_no_hint() -> None:
    searched = parse(
        "name: a\nspace: {class_weight: {type: categorical, choices: [none, balanced]}}\n"
        "sweep: {objective: val_macro_f1}"
    )
    assert of_training(curve(*FLAT), searched, manifest({"fine": 95, "broken": 5})) == ()


def manifest(images: dict[str, int]) -> Manifest:
    return Manifest("x", "x", "d", (8, 8, 1), ("a", "b"), {}, {}, {}, class_counts={"train": images})


def test_what_guessing_has_on_validation_is_of_the_pages_objective(tmp_path: Path) -> None:
    np.save(tmp_path / "validation-images.npy", np.zeros((10, 2, 2, 1), np.uint8))
    np.save(tmp_path / "validation-labels.npy", np.array([0] * 8 + [1] * 2))
    assert validation_baseline(tmp_path, "val_accuracy") == validation_baseline(tmp_path, "val_loss") == 0.8
    assert validation_baseline(tmp_path, "val_macro_f1") == 0.5


def test_without_an_epoch_there_is_none() -> None:
    assert hints([], 3) == ()
