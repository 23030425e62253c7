from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from windrow.experiment import parameters
from windrow.training import layers
from windrow.training.networks import Builder

pytestmark = pytest.mark.tensorflow


def network(builder: str, **changes: Any) -> Any:
    values = {**parameters.defaults(builder), "dropout": 0.0, **changes}
    built = Builder(builder).build(values, (8, 8, 1), 5)
    initialize(built, 3)
    return built


def initialize(built: Any, seed: int) -> None:
    known = [(variable.name, tuple(variable.shape)) for variable in built.weights]
    built.set_weights(layers.initial_weights(known, seed))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("builder", "changes"),
    [
        ("dense", {"layers": 2}),
        ("dense", {"batch_norm": True, "activation": "tanh"}),
        ("cnn", {}),
        ("cnn", {"batch_norm": False}),
    ],
)
def test_the_layers_are_what_keras_calls(builder: str, changes: dict[str, Any], training: bool) -> None:
    import keras
    import tensorflow as tf

    mine, theirs = network(builder, **changes), network(builder, **changes)
    images = np.random.default_rng(0).uniform(0, 255, (6, 8, 8, 1)).astype(np.float32)
    called = keras.Model(theirs.input, theirs.layers[-1].input)
    for _ in range(2):
        got = layers.logits(mine, tf.constant(images), training, tf.constant(0.0), tf.constant([1, 2]))
        np.testing.assert_allclose(got, called(images, training=training), rtol=1e-3, atol=1e-4)
    for left, right in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)


def test_initial_weights_follow_the_seed_and_have_keras_spread() -> None:
    first, again = network("dense", units=200), network("dense", units=200)
    np.testing.assert_array_equal(first.get_weights()[0], again.get_weights()[0])
    initialize(again, 4)
    assert np.abs(first.get_weights()[0] - again.get_weights()[0]).max() > 0.01
    import keras

    theirs = np.asarray(keras.initializers.GlorotUniform(1)((64, 200)))
    assert first.get_weights()[0].std() == pytest.approx(theirs.std(), rel=0.02)
    assert np.abs(first.get_weights()[0]).max() == pytest.approx(np.abs(theirs).max(), rel=0.01)


def test_dropout_drops_its_share_and_other_units_with_another_seed() -> None:
    import tensorflow as tf

    dropping = network("dense", dropout=0.5, units=400)
    images = tf.constant(np.full((50, 8, 8, 1), 200, np.float32))
    outputs = [
        np.asarray(layers.logits(dropping, images, True, tf.constant(rate), tf.constant([seed, 2])))
        for rate, seed in ((0.5, 1), (0.5, 1), (0.5, 2), (0.0, 1))
    ]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[0] - outputs[2]).max() > 0.01
    np.testing.assert_allclose(outputs[0].mean(0), outputs[3][0], atol=0.2)
