from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from windrow.training import parameters
from windrow.training.loop import Epoch, Examples, compile_evaluation, train
from windrow.training.networks import Builder

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def examples() -> Examples:
    """1,000 images of one bright row each; the row is the label."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 8, 1000)
    images = generator.integers(0, 120, (1000, 8, 8, 1), dtype=np.uint8)
    images[np.arange(1000), labels] += 60
    return Examples(images, labels.astype(np.int64))


def fresh(seed: int = 1, **changes: Any) -> tuple[Any, dict[str, Any]]:
    import keras

    values = {**parameters.defaults("dense"), **changes}
    keras.utils.set_random_seed(seed)
    return Builder("dense").build(values, (8, 8, 1), 8), values


def run(examples: Examples, epochs: int = 2, seed: int = 1, **changes: Any) -> list[Epoch]:
    network, values = fresh(seed, **changes)
    return list(train(network, examples, examples, values, epochs, seed))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_full_batch_training_equals_keras_fit(examples: Examples, optimizer: str) -> None:
    import keras

    changes = {"optimizer": optimizer, "batch_size": 1000, "learning_rate": 0.01, "weight_decay": 0.01}
    mine, values = fresh(**changes)
    epochs = list(train(mine, examples, examples, values, 3, 1))
    theirs, _ = fresh(**changes)
    kind = {"adam": keras.optimizers.Adam, "sgd": lambda rate, **k: keras.optimizers.SGD(rate, momentum=0.9, **k)}
    theirs.compile(kind[optimizer](0.01, weight_decay=0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = theirs.fit(
        examples.images.astype(np.float32), examples.labels, batch_size=1000, epochs=3, shuffle=False, verbose=0
    ).history
    np.testing.assert_allclose([epoch.loss for epoch in epochs], history["loss"], rtol=1e-4)
    for left, right in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4)


def test_training_learns_what_can_be_learned(examples: Examples) -> None:
    assert run(examples, epochs=15, learning_rate=0.01)[-1].val_accuracy > 0.95


@pytest.mark.parametrize("changes", [{}, {"dropout": 0.5, "shift": 1.0, "rotation": 10.0, "decay": "cosine"}])
def test_the_same_seed_gives_the_same_epochs_and_another_seed_others(
    examples: Examples, changes: dict[str, Any]
) -> None:
    losses = [[epoch.loss for epoch in run(examples, seed=seed, **changes)] for seed in (1, 1, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != pytest.approx(losses[2], rel=1e-3)


def test_a_batch_larger_than_the_data_is_the_whole_data(examples: Examples) -> None:
    assert len(run(examples, batch_size=60000)) == 2


def test_a_loss_that_is_not_finite_is_seen(examples: Examples) -> None:
    epochs = run(examples, learning_rate=10.0, optimizer="sgd", layers=8, units=512, momentum=0.99, epochs=3)
    assert not epochs[-1].finite


def test_an_epoch_shuffles_and_drops_only_the_remainder(examples: Examples) -> None:
    """With 1,000 images and batches of 300, three steps are taken an epoch."""
    network, values = fresh(batch_size=300, optimizer="sgd", momentum=0.0, learning_rate=0.5)
    first, second = train(network, examples, examples, values, 2, 1)
    assert first.loss != second.loss
    assert 0 <= first.accuracy <= 1


def test_evaluation_covers_every_image_once_whatever_the_remainder(examples: Examples) -> None:
    network, _ = fresh()
    odd = Examples(examples.images[:777], examples.labels[:777])
    probabilities = np.asarray(network(odd.images.astype(np.float32)))
    loss, accuracy = compile_evaluation(network, odd)()
    assert accuracy == pytest.approx((probabilities.argmax(1) == odd.labels).mean(), abs=1e-6)
    assert loss == pytest.approx(-np.log(probabilities[np.arange(777), odd.labels]).mean(), rel=1e-4)


def test_a_network_that_ends_in_another_softmax_trains_too(examples: Examples) -> None:
    import keras

    image = keras.Input((8, 8, 1))
    output = keras.layers.Dense(8, activation="softmax")(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image)))
    values = {**parameters.defaults("dense"), "learning_rate": 0.01}
    *_, last = train(keras.Model(image, output), examples, examples, values, 15, 1)
    assert last.val_accuracy > 0.9
