"""A user's network is traced once an architecture, and each trial is as if the graph were made for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from windrow.experiment import parameters
from windrow.training import graphs, loop
from windrow.training.cached import cached_graphs
from windrow.training.data import Examples
from windrow.training.loop import Run
from windrow.training.networks import Builder

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("nothing_kept")]

SHAPE, CLASSES = (8, 8, 1), 5

MINE = """
import keras
from keras import layers

def build(shape, classes, units=4, rate=0.3, own="none"):
    image = keras.Input(shape)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    x = layers.Dense(units, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-3))(x)
    x = layers.Dropout(rate)(layers.BatchNormalization()(x))
    if own == "layer":
        x = Mine()(x)
    if own == "lambda":
        x = layers.Lambda(lambda y: 2 * y, output_shape=(units,))(x)
    if own == "activation":
        x = layers.Activation(doubled)(x)
    return keras.Model(image, layers.Dense(classes, activation="softmax")(x))

def doubled(x):
    return 2 * x

class Mine(layers.Layer):
    def call(self, x):
        return 2 * x
"""
BUILDER = Builder("mine.py:build", MINE, "build")


@pytest.fixture
def nothing_kept() -> Iterator[None]:
    cached_graphs.cached.clear()
    yield
    cached_graphs.cached.clear()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[graphs.Graph]:
    """The graphs that have been traced."""
    found, trace = [], graphs.Graph._trace

    def count(graph: graphs.Graph, arguments: Any) -> Any:
        found.append(graph)
        return trace(graph, arguments)

    monkeypatch.setattr(graphs.Graph, "_trace", count)
    return found


def prepared(builder: Builder = BUILDER, seed: int = 1, count: int = 200, **changes: Any) -> Run:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, count)
    images = generator.integers(0, 120, (count, *SHAPE), dtype=np.uint8)
    images[np.arange(count), labels] += 60
    examples = Examples(images, labels.astype(np.int64))
    values = {**parameters.defaults(builder.name), **changes}
    return loop.prepare(builder, values, SHAPE, CLASSES, examples, examples, 2, seed)


def figures(run: Run) -> list[Any]:
    """Train, and return what the epochs are, but for their time, and the weights."""
    epochs = [(epoch.loss, epoch.accuracy, epoch.val_loss, epoch.val_accuracy) for epoch in run.epochs()]
    return [*epochs, *(weights.tolist() for weights in run.weights())]


def test_a_users_network_is_traced_once_for_all_learning_rates_and_seeds(traced: list[graphs.Graph]) -> None:
    for number in range(5):
        figures(prepared(seed=number, learning_rate=10.0**-number, momentum=0.1 * number))
    assert len(traced) == 2, "the training and the evaluation"
    figures(prepared(units=5))
    figures(prepared(units=5, rate=0.1))
    assert len(traced) == 6, "other arguments of the function may make another network"
    figures(prepared())
    assert len(traced) == 6


def test_a_trial_of_a_users_network_on_cached_graphs_is_the_very_trial_on_graphs_of_its_own() -> None:
    alone = []
    for seed, rate in ((1, 1e-2), (2, 1e-3)):
        cached_graphs.cached.clear()
        alone.append(figures(prepared(seed=seed, learning_rate=rate)))
    assert alone[0] != alone[1]
    figures(prepared(seed=3, learning_rate=0.1))
    assert [figures(prepared(seed=1, learning_rate=1e-2)), figures(prepared(seed=2, learning_rate=1e-3))] == alone
    assert len(cached_graphs.cached) == 1


@pytest.mark.parametrize("line", ["units = random.randrange(1000, 2000)", "rate = random.random()"])
def test_a_function_that_draws_its_architecture_gets_graphs_of_each(line: str) -> None:
    source = MINE.replace("    image =", f"    {line}\n    image =", 1).replace(
        "import keras", "import random, keras", 1
    )
    builder = Builder("mine.py:build", source, "build")
    runs = [figures(prepared(builder, seed)) for seed in (1, 2)]
    cached_graphs.cached.clear()
    assert figures(prepared(builder, 2)) == runs[1]


@pytest.mark.parametrize("own", ["layer", "lambda", "activation"])
def test_a_network_with_code_of_the_users_in_it_is_not_cached(own: str) -> None:
    prepared(own=own)
    assert not cached_graphs.cached
    prepared()
    assert len(cached_graphs.cached) == 1


def test_a_large_network_of_a_users_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_graphs, "OWN_WEIGHTS", 1000)
    prepared(units=20)
    assert not cached_graphs.cached
    prepared(units=4)
    assert len(cached_graphs.cached) == 1
