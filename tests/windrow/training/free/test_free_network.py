"""One graph trains networks of all sizes, and each as if the graph were made for it."""

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

SHAPE, CLASSES = (9, 8, 1), 5


@pytest.fixture
def nothing_kept() -> Iterator[None]:
    cached_graphs.cached.clear()
    yield
    cached_graphs.cached.clear()


def images(count: int) -> Examples:
    """Return images of one bright row each; the row is the label."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, count)
    found = generator.integers(0, 120, (count, *SHAPE), dtype=np.uint8)
    found[np.arange(count), labels] += 60
    return Examples(found, labels.astype(np.int64))


def prepared(builder: str, examples: Examples, epochs: int = 2, seed: int = 1, **changes: Any) -> Run:
    values = {**parameters.defaults(builder), **changes}
    return loop.prepare(Builder(builder), values, SHAPE, CLASSES, examples, examples, epochs, seed)


def figures(run: Run) -> list[tuple[float, ...]]:
    """Train, and return what the epochs are, but for their time, and the weights' sums."""
    epochs = [(epoch.loss, epoch.accuracy, epoch.val_loss, epoch.val_accuracy) for epoch in run.epochs()]
    return [*epochs, *((float(weights.sum()),) for weights in run.weights())]


@pytest.mark.parametrize("builder", ["dense", "cnn"])
def test_forty_trials_of_forty_sizes_are_traced_once(builder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    traced, trace = [], graphs.Graph._trace

    def count(graph: graphs.Graph, arguments: Any) -> Any:
        traced.append(graph)
        return trace(graph, arguments)

    monkeypatch.setattr(graphs.Graph, "_trace", count)
    for number in range(40):
        sizes = {"units": 3 + number, "batch_size": 5 + number}
        if builder == "cnn":
            sizes["filters"] = 1 + number % 9
        figures(prepared(builder, images(60), 1, number, **sizes))
    assert len(traced) == 2, "the training and the evaluation"


@pytest.mark.parametrize(
    ("builder", "changes"),
    [
        ("dense", {"layers": 2, "batch_norm": True, "dropout": 0.3, "shift": 1.0}),
        ("dense", {"optimizer": "sgd", "class_weight": "balanced", "label_smoothing": 0.1}),
        ("cnn", {"blocks": 4, "convolutions": 2, "filters": 3, "flip": True}),
        ("cnn", {"batch_norm": False, "filters": 2, "dropout": 0.0, "weight_decay": 0.01}),
    ],
)
def test_a_trial_on_the_graph_of_other_sizes_is_the_very_trial_on_a_graph_of_its_own(
    builder: str, changes: dict[str, Any]
) -> None:
    examples = images(300)
    widths = {name: 2 * value + 1 for name, value in changes.items() if name == "filters"}
    others = {**changes, **widths, "units": 24, "batch_size": 90}
    own = figures(prepared(builder, examples, **changes))
    shared = figures(prepared(builder, examples, **others))
    assert len(cached_graphs.cached) == 1
    cached_graphs.cached.clear()
    assert figures(prepared(builder, examples, **others)) == shared
    assert figures(prepared(builder, examples, **changes)) == own


def test_a_network_is_as_wide_as_its_trial_and_stays_as_it_was_while_the_next_one_trains() -> None:
    first = prepared("cnn", images(100), units=9, filters=3)
    figures(first)
    network, weights = first.network, first.weights()
    figures(prepared("cnn", images(100), units=12, filters=4))
    assert [network.layers[2].filters, network.layers[-4].units] == [3, 9]
    for kept, before in zip(network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(kept, before)
