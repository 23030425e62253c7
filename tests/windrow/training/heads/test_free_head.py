"""One graph trains heads of every width, and each as if the graph were made for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from windrow.experiment import parameters
from windrow.training import loop
from windrow.training.cached import cached_graphs
from windrow.training.data import Examples
from windrow.training.heads import free_head
from windrow.training.loop import Run
from windrow.training.networks import Builder

pytestmark = pytest.mark.tensorflow

FEATURES, CLASSES = 24, 5


@pytest.fixture(scope="module")
def examples() -> Examples:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, CLASSES, 330)
    centres = generator.normal(0, 1, (CLASSES, FEATURES))
    features = (centres[labels] + generator.normal(0, 1, (330, FEATURES))).astype(np.float16)
    return Examples(features[:, None], labels.astype(np.int64))


def prepared(examples: Examples, seed: int = 3, **changes: Any) -> Run:
    values = {**parameters.defaults("head"), "layers": 1, **changes}
    return loop.prepare(Builder("head"), values, (1, 1, FEATURES), CLASSES, examples, examples, 2, seed)


def figures(run: Run) -> list[tuple[float, float, float]]:
    return [(epoch.loss, epoch.val_loss, epoch.val_accuracy) for epoch in run.epochs()]


@pytest.mark.parametrize(
    "changes", [{"dropout": 0.3, "weight_decay": 0.1}, {"layers": 2, "optimizer": "sgd", "l2_normalized": True}]
)
def test_heads_of_all_widths_share_a_graph_and_get_the_epochs_of_a_graph_of_their_own(
    examples: Examples, changes: dict[str, Any]
) -> None:
    cached_graphs.cached.clear()
    shared = {units: figures(prepared(examples, units=units, **changes)) for units in (40, 7, 64, 40)}
    (compiled,) = cached_graphs.cached.values()
    for units, found in shared.items():
        cached_graphs.cached.clear()
        own = prepared(examples, units=units, **changes)
        np.testing.assert_allclose(figures(own), found, rtol=1e-5)
        assert [part.shape for part in own.weights()] == [part.shape for part in own.network.get_weights()]
        assert compiled not in cached_graphs.cached.values()


def test_a_head_without_dropout_draws_nothing(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    cached_graphs.cached.clear()
    monkeypatch.delattr(free_head, "drop")
    list(prepared(examples, units=8).epochs())
    with pytest.raises(NameError, match="drop"):
        list(prepared(examples, units=8, dropout=0.5).epochs())
    cached_graphs.cached.clear()


def test_a_heads_network_stays_as_it_was_while_the_next_one_trains(examples: Examples) -> None:
    first = prepared(examples, units=9)
    list(first.epochs())
    network, weights = first.network, first.weights()
    list(prepared(examples, units=12).epochs())
    assert network.layers[2].units == 9
    for kept, before in zip(network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(kept, before)


def test_a_large_head_leaves_no_arrays_behind(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    cached_graphs.cached.clear()
    monkeypatch.setattr(cached_graphs, "WEIGHTS", 1000)
    list(prepared(examples, units=100).epochs())
    assert not cached_graphs.cached
    list(prepared(examples, units=10).epochs())
    assert len(cached_graphs.cached) == 1


@pytest.mark.parametrize("width", [1000, 7])
@pytest.mark.parametrize("rate", [0.0, 0.25, 0.9])
def test_dropped_values_are_zero_and_the_others_keep_the_mean(width: int, rate: float) -> None:
    import tensorflow as tf

    values = np.asarray(free_head.drop(tf.ones((40_000 // width, width)), tf.constant(rate), tf.constant([1, 2])))
    assert (values == 0).mean() == pytest.approx(rate, abs=0.01)
    assert values[values != 0] == pytest.approx(1 / (1 - rate))
    assert np.std((values == 0).mean(axis=0)) < 0.1, "every column alike"
    other = np.asarray(free_head.drop(tf.ones(values.shape), tf.constant(rate), tf.constant([1, 3])))
    assert rate == 0.0 or ((values == 0) != (other == 0)).mean() > rate * (1 - rate)
