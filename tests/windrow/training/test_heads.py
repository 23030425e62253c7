"""Heads: trained on a backbone's features as Keras would train them, alone and in one graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from windrow.experiment import parameters
from windrow.training import fused, graphs, loop
from windrow.training.data import tensors
from windrow.training.fused import Member
from windrow.training.loop import Examples, Run
from windrow.training.networks import Builder

pytestmark = pytest.mark.tensorflow

HEAD = Builder("head")
FEATURES, CLASSES, VIEWS = 24, 5, 3
SHAPE = (1, 1, FEATURES)


def values(**changes: Any) -> dict[str, Any]:
    return {**parameters.defaults("head"), **changes}


def made(views: int, count: int = 330) -> Examples:
    """Features in which a class has a direction of its own; further views of an image are noisier."""
    generator = np.random.default_rng(1)
    labels = generator.integers(0, CLASSES, count)
    centres = generator.normal(0, 1, (CLASSES, FEATURES))
    noise = generator.normal(0, 1, (count, views, FEATURES)) * np.arange(1, views + 1)[:, None]
    return Examples((centres[labels][:, None] + noise).astype(np.float16), labels.astype(np.int64))


@pytest.fixture(scope="module")
def training() -> Examples:
    return made(VIEWS)


@pytest.fixture(scope="module")
def validation(training: Examples) -> Examples:
    return Examples(training.images[:100, :1], training.labels[:100])


def prepared(training: Examples, validation: Examples, epochs: int = 2, seed: int = 3, **changes: Any) -> Run:
    return loop.prepare(HEAD, values(**changes), SHAPE, CLASSES, training, validation, epochs, seed)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 0},
        {"layers": 2, "units": 7, "activation": "gelu", "label_smoothing": 0.2},
        {"layers": 0, "l2_normalized": True, "label_smoothing": 0.1},
        {"layers": 1, "l2_normalized": True},
    ],
    ids=str,
)
def test_a_head_trains_as_kerass_own_on_the_same_features(
    training: Examples, validation: Examples, changes: dict[str, Any]
) -> None:
    import keras

    mine = prepared(training, validation, 3, learning_rate=0.01, **changes)
    theirs = keras.models.clone_model(mine.network)
    theirs.set_weights(mine.network.get_weights())
    smoothed = keras.losses.CategoricalCrossentropy(label_smoothing=changes.get("label_smoothing", 0.0))
    theirs.compile(keras.optimizers.Adam(0.01), smoothed)
    first, hot = training.images[:, 0].astype(np.float32), np.eye(CLASSES)[training.labels]
    for number, epoch in enumerate(mine.epochs()):
        losses = []
        for rows in np.asarray(graphs.order(3, number, len(training), 32)):
            theirs.reset_metrics()
            losses.append(float(theirs.train_on_batch(first[rows].reshape(-1, *SHAPE), hot[rows])))
        assert epoch.loss == pytest.approx(np.mean(losses), rel=1e-3)
        outputs = np.asarray(theirs(first[:100].reshape(-1, *SHAPE)))
        plain = -np.log(outputs[np.arange(100), validation.labels]).mean()
        assert epoch.val_loss == pytest.approx(plain, rel=1e-3), "validation losses are not smoothed"
    for left, right in zip(mine.network.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, atol=5e-4)


def test_only_the_direction_of_normalized_features_counts(training: Examples, validation: Examples) -> None:
    larger = (Examples(part.images * np.float16(8), part.labels) for part in (training, validation))
    as_is = [epoch.loss for epoch in prepared(training, validation, l2_normalized=True).epochs()]
    scaled = [epoch.loss for epoch in prepared(*larger, l2_normalized=True).epochs()]
    assert scaled == pytest.approx(as_is, rel=1e-5)


def test_without_hidden_layers_features_are_dropped(training: Examples, validation: Examples) -> None:
    changes = {"layers": 0, "learning_rate": 1e-8}
    rates = [next(prepared(training, validation, dropout=rate, **changes).epochs()) for rate in (0.0, 0.8)]
    assert rates[0].loss != pytest.approx(rates[1].loss, rel=1e-2)
    assert rates[0].val_loss == pytest.approx(rates[1].val_loss, rel=1e-5)


@pytest.mark.parametrize("views", [1, 2, 3])
def test_each_image_of_a_step_is_one_of_the_trials_first_views(training: Examples, views: int) -> None:
    data = tensors(training)
    rows = np.concatenate([graphs.rows(data, {"views": views}, 7, epoch, 30) for epoch in range(10)])
    again = np.concatenate([graphs.rows(data, {"views": views}, 7, epoch, 30) for epoch in range(10)])
    np.testing.assert_array_equal(rows, again)
    order = np.concatenate([graphs.order(7, epoch, len(training), 30) for epoch in range(10)])
    np.testing.assert_array_equal(rows // VIEWS, order)
    counts = np.bincount((rows % VIEWS).ravel(), minlength=VIEWS)
    np.testing.assert_allclose(counts[:views] / counts.sum(), 1 / views, atol=0.03)
    assert not counts[views:].any()


def test_a_trial_with_more_views_than_are_stored_is_refused(training: Examples) -> None:
    with pytest.raises(ValueError, match=r"a trial's views must be stored; got 3 for 8; run embed_images\.py again"):
        graphs.rows(tensors(training), {"views": 8}, 7, 0, 30)


def test_views_of_one_image_have_its_label(validation: Examples) -> None:
    """Noise as features, so that a head can only learn which image has which label: through every view."""
    generator = np.random.default_rng(2)
    noise = Examples(generator.normal(0, 1, (60, VIEWS, FEATURES)).astype(np.float16), np.arange(60) % CLASSES)
    own = [Examples(noise.images[:, view : view + 1], noise.labels) for view in range(VIEWS)]
    changes = {"layers": 1, "units": 128, "learning_rate": 0.01, "batch_size": 20}
    seen = [list(prepared(noise, part, 60, views=VIEWS, **changes).epochs())[-1].val_accuracy for part in own]
    assert min(seen) > 0.9
    first_only = [list(prepared(noise, part, 60, views=1, **changes).epochs())[-1].val_accuracy for part in own]
    assert first_only[0] > 0.9
    assert max(first_only[1:]) < 0.6


MEMBERS: list[dict[str, Any]] = [
    {"learning_rate": 0.003},
    {"learning_rate": 0.01, "weight_decay": 0.1, "label_smoothing": 0.2, "views": 3},
    {"learning_rate": 0.001, "label_smoothing": 0.05, "views": 2, "momentum": 0.5},
]


@pytest.mark.parametrize(
    "common",
    [
        {"layers": 0},
        {"layers": 0, "l2_normalized": True, "class_weight": "balanced"},
        {"layers": 1, "optimizer": "sgd", "decay": "cosine"},
    ],
    ids=str,
)
def test_heads_in_one_graph_give_the_epochs_of_each_alone(
    training: Examples, validation: Examples, common: dict[str, Any]
) -> None:
    widths = [{"units": 5}, {"units": 32}, {"units": 20}]
    members = [
        Member(values(**common, **own, **width), seed)
        for seed, (own, width) in enumerate(zip(MEMBERS, widths, strict=True))
    ]
    assert len({fused.key(HEAD, member.parameters) for member in members}) == 1
    run = fused.prepare(HEAD, members, SHAPE, CLASSES, training, validation, 3)
    rows = list(run.epochs())
    for index, member in enumerate(members):
        alone = loop.prepare(HEAD, member.parameters, SHAPE, CLASSES, training, validation, 3, member.seed)
        for row, solo in zip(rows, alone.epochs(), strict=True):
            found, wanted = (each.metrics() for each in (row[index], solo) if each is not None)
            del found["seconds"], wanted["seconds"]
            assert found == pytest.approx(wanted, rel=1e-3), f"member {index}"
        for left, right in zip(run.network(index).get_weights(), alone.network.get_weights(), strict=True):
            np.testing.assert_allclose(left, right, atol=1e-3)


def test_members_with_and_without_dropout_share_a_graph(training: Examples, validation: Examples) -> None:
    members = [Member(values(dropout=rate, learning_rate=1e-8), 1) for rate in (0.0, 0.8)]
    run = fused.prepare(HEAD, members, SHAPE, CLASSES, training, validation, 1)
    without, dropped = next(run.epochs())
    assert without is not None
    assert dropped is not None
    (alone,) = prepared(training, validation, 1, seed=1, dropout=0.0, learning_rate=1e-8).epochs()
    assert without.loss == pytest.approx(alone.loss, rel=1e-5)
    assert dropped.loss != pytest.approx(alone.loss, rel=1e-2)
    assert dropped.val_loss == pytest.approx(alone.val_loss, rel=1e-5)


@pytest.mark.parametrize("change", [{"layers": 1}, {"l2_normalized": True}, {"batch_size": 64}])
def test_heads_of_other_forms_do_not_share_a_graph(change: dict[str, Any]) -> None:
    assert fused.key(HEAD, values()) != fused.key(HEAD, values(**change))


def test_a_gain_of_one_graph_is_measured_for_heads(training: Examples, validation: Examples) -> None:
    members = [Member(values(learning_rate=rate), 0) for rate in (0.001, 0.002, 0.003)]
    assert fused.gain(HEAD, members, SHAPE, CLASSES, training, validation) > 0
