from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from windrow.experiment import parameters
from windrow.training import dense, fused, layers, loop
from windrow.training.fused import FusedRun, Member
from windrow.training.loop import Epoch, Examples
from windrow.training.networks import Builder
from windrow.training.stacked import NetworkStack

DENSE = Builder("dense")
needs_tensorflow = pytest.mark.tensorflow

WIDTHS = [
    {"units": 5, "learning_rate": 0.003, "weight_decay": 0.0},
    {"units": 32, "learning_rate": 0.01, "weight_decay": 0.01, "momentum": 0.5, "label_smoothing": 0.2},
    {"units": 20, "learning_rate": 0.001, "weight_decay": 0.1},
    {"units": 1, "learning_rate": 0.02, "weight_decay": 0.0, "momentum": 0.0},
]


COMMON = [
    {"optimizer": "adam", "layers": 3, "activation": "gelu"},
    {"optimizer": "sgd", "decay": "cosine", "batch_size": 300, "activation": "tanh"},
    {"optimizer": "adam", "decay": "cosine", "batch_norm": True, "layers": 2, "activation": "elu"},
    {"optimizer": "sgd", "batch_norm": True, "layers": 2, "activation": "relu"},
    {"optimizer": "adam", "batch_norm": False, "layers": 2, "activation": "selu", "class_weight": "balanced"},
]
"""Together with WIDTHS, other than the defaults for each parameter that a fused trial may have."""


@pytest.fixture(scope="module")
def examples() -> Examples:
    """1,000 images of one bright row each; the row is the label."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 8, 1000)
    images = generator.integers(0, 120, (1000, 8, 8, 1), dtype=np.uint8)
    images[np.arange(1000), labels] += 60
    return Examples(images, labels.astype(np.int64))


def values(**changes: Any) -> dict[str, Any]:
    return {**parameters.defaults("dense"), **changes}


def group(*changes: dict[str, Any], **common: Any) -> list[Member]:
    return [Member(values(**common, **own), seed) for seed, own in enumerate(changes)]


def prepared(examples: Examples, members: list[Member], epochs: int = 2) -> FusedRun:
    return fused.prepare(DENSE, members, (8, 8, 1), 8, examples, examples, epochs)


def alone(examples: Examples, member: Member, epochs: int = 2) -> list[Epoch]:
    run = loop.prepare(DENSE, member.parameters, (8, 8, 1), 8, examples, examples, epochs, member.seed)
    return list(run.epochs())


def losses(epochs: Any) -> np.ndarray:
    return np.array([[epoch.loss, epoch.val_loss] for epoch in epochs])


def test_what_only_differs_in_numbers_has_one_key() -> None:
    keys = {fused.key(DENSE, member.parameters) for member in group(*WIDTHS, {"dropout": 0.5})}
    assert len(keys) == 1
    assert None not in keys


@pytest.mark.parametrize(
    "change",
    [
        *({"activation": "tanh"}, {"layers": 2}, {"optimizer": "sgd"}, {"decay": "cosine"}, {"batch_size": 64}),
        {"class_weight": "balanced"},
    ],
)
def test_what_makes_another_graph_has_another_key(change: dict[str, Any]) -> None:
    assert fused.key(DENSE, values()) != fused.key(DENSE, values(**change))


@pytest.mark.parametrize(
    "change", [{"shift": 1.0}, {"rotation": 1.0}, {"zoom": 0.1}, {"flip": True}, {"contrast": 0.1}, {"brightness": 0.1}]
)
def test_augmented_trials_have_no_key(change: dict[str, Any]) -> None:
    assert fused.key(DENSE, values(**change)) is None


def test_other_networks_have_no_key() -> None:
    assert fused.key(Builder("cnn"), parameters.defaults("cnn")) is None
    assert fused.key(Builder("mine.py:build", "", "build"), parameters.defaults("mine.py:build")) is None


def test_the_groups_that_are_compared_have_every_value_that_a_page_allows() -> None:
    known = parameters.known("dense") or {}
    compared = [values(**common, **own) for common in COMMON for own in WIDTHS]
    # Augmented trials are never fused; dropout is drawn otherwise, and has a test of its own.
    augmentation = {"shift", "rotation", "zoom", "flip", "contrast", "brightness"}
    for name in sorted(set(known) - augmentation - {"dropout"}):
        found = {each[name] for each in compared}
        choices = known[name].choices or ((False, True) if known[name].kind is bool else ())
        assert found >= set(choices), name
        assert len(found) > 1, name


@needs_tensorflow
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("activation", parameters.BUILDERS["dense"]["activation"].choices)
def test_a_stack_computes_what_its_members_compute_alone(activation: str, batch_norm: bool, training: bool) -> None:
    """Logits, gradients and, with batch normalisation, its averages, of two layers and of random weights."""
    import tensorflow as tf

    chosen = values(activation=activation, batch_norm=batch_norm, layers=2)
    images, truth = tf.random.stateless_uniform((32, 8, 8, 1), [0, 0]) * 255, tf.range(32) % 8
    members = [DENSE.build({**chosen, "units": units}, (8, 8, 1), 8) for units in (5, 16)]
    generator, rates = np.random.default_rng(0), np.array([0.5, 2.0], np.float32)
    for network in members:
        network.set_weights([generator.uniform(0.1, 1, weight.shape) - 0.5 for weight in network.weights])
        for weight in network.weights:
            if weight.name == "moving_variance":
                weight.assign(weight + 1)
    stack = NetworkStack(chosen, 2, 16, (8, 8, 1), 8)
    stack.begin([network.get_weights() for network in members], rates)

    with tf.GradientTape() as tape:
        stacked = stack.logits(tf.reshape(images, (1, 32, 64)), training, None, None)
        loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.stack([truth] * 2), stacked))
    wide = tape.gradient(loss, stack.trained)
    for index, network in enumerate(members):
        trained = [variable.value for variable in network.trainable_variables]
        with tf.GradientTape() as tape:
            alone = layers.logits(network, images, training, 0.0, tf.constant([0, 0]))
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(truth, alone))
        np.testing.assert_allclose(stacked[index], alone, rtol=1e-4, atol=1e-4)
        for own, gradient in zip(tape.gradient(loss, trained), wide, strict=True):
            cut = gradient[index][tuple(slice(size) for size in own.shape)]
            np.testing.assert_allclose(cut, own, rtol=1e-3, atol=1e-3)
        for own, array in zip(network.get_weights(), stack.weights(index), strict=True):
            np.testing.assert_allclose(array[tuple(slice(size) for size in own.shape)], own, rtol=1e-4, atol=1e-6)


@needs_tensorflow
def test_members_of_two_keys_are_refused(examples: Examples) -> None:
    with pytest.raises(ValueError, match="must have one key"):
        prepared(examples, group({}, {"layers": 2}))


@needs_tensorflow
@pytest.mark.parametrize("common", COMMON)
def test_each_member_gives_the_epochs_of_its_solo_run(examples: Examples, common: dict[str, Any]) -> None:
    members = group(*WIDTHS, **common)
    rows = list(prepared(examples, members).epochs())
    for index, member in enumerate(members):
        solo = losses(alone(examples, member))
        np.testing.assert_allclose(losses(row[index] for row in rows), solo, rtol=1e-3, err_msg=f"member {index}")


@needs_tensorflow
def test_class_weights_and_macro_f1_are_those_of_solo_runs(examples: Examples) -> None:
    rare = Examples(
        *(part[np.argsort(examples.labels, stable=True)][60:900] for part in (examples.images, examples.labels))
    )
    members = group(*WIDTHS[:2], class_weight="balanced", batch_size=210)
    for macro_f1 in (True, False):  # a cached stack without it must not be taken for one with it
        rows = list(fused.prepare(DENSE, members, (8, 8, 1), 8, rare, rare, 2, macro_f1).epochs())
        for index, member in enumerate(members):
            run = loop.prepare(DENSE, member.parameters, (8, 8, 1), 8, rare, rare, 2, member.seed, macro_f1)
            for row, solo in zip(rows, run.epochs(), strict=True):
                found, wanted = (each.metrics() for each in (row[index], solo) if each is not None)
                assert found.keys() == wanted.keys()
                assert ("val_macro_f1" in found) == macro_f1
                del found["seconds"], wanted["seconds"]
                assert found == pytest.approx(wanted, rel=1e-3)


@needs_tensorflow
def test_padding_stays_zero_through_training(examples: Examples) -> None:
    run = prepared(examples, group(*WIDTHS, layers=2, batch_norm=True, optimizer="adam"))
    list(run.epochs())
    known = dense.weights(values(layers=2, batch_norm=True), 5, (8, 8, 1), 8)
    for (name, own), wide in zip(known, run._trainer.stack.weights(0), strict=True):
        if name in ("kernel", "beta", "moving_mean"):
            wide[tuple(slice(size) for size in own)] = 0
            assert not wide.any(), name


@needs_tensorflow
@pytest.mark.parametrize("changes", [{}, {"batch_norm": True, "layers": 2, "dropout": 0.2}])
def test_the_variables_are_those_of_the_builder(changes: dict[str, Any]) -> None:
    network = DENSE.build(values(**changes), (8, 8, 1), 8)
    built = [(variable.name, tuple(variable.shape)) for variable in network.weights]
    assert dense.weights(values(**changes), 64, (8, 8, 1), 8) == built


@needs_tensorflow
def test_a_members_network_has_its_own_width_and_predicts_what_was_measured(examples: Examples) -> None:
    run = prepared(examples, group(*WIDTHS, batch_norm=True))
    *_, last = run.epochs()
    for index, changes in enumerate(WIDTHS):
        network = run.network(index)
        assert network.layers[3].units == changes["units"]
        loss, predicted, _ = loop.compile_evaluation(network, examples)()
        measured = (loss, np.mean(predicted == examples.labels))
        assert measured == pytest.approx((last[index].val_loss, last[index].val_accuracy), rel=1e-4)


@needs_tensorflow
def test_a_member_that_diverges_does_not_disturb_the_others(examples: Examples) -> None:
    wild = {"units": 64, "learning_rate": 10.0, "momentum": 0.99}
    members = group(WIDTHS[0], wild, WIDTHS[2], optimizer="sgd", layers=8)
    rows = list(prepared(examples, members, 4).epochs())
    assert not math.isfinite(rows[-1][1].loss)  # type: ignore[union-attr]
    for index in (0, 2):
        solo = losses(alone(examples, members[index], 4))
        np.testing.assert_allclose(losses(row[index] for row in rows), solo, rtol=1e-3)


@needs_tensorflow
def test_what_is_dropped_gives_no_epoch_and_the_rest_goes_on_as_before(examples: Examples) -> None:
    members = group(*WIDTHS, decay="cosine")
    run = prepared(examples, members, 5)
    rows = []
    for number, row in enumerate(run.epochs()):
        rows.append(row)
        run.drop(number)  # members 0 to 3 in turn: after two, a smaller stack goes on
    assert [[epoch is not None for epoch in row] for row in rows] == [
        [index >= number for index in range(4)] for number in range(4)
    ]
    for index in range(4):
        solo = losses(alone(examples, members[index], 5))[: index + 1]
        np.testing.assert_allclose(losses(row[index] for row in rows[: index + 1]), solo, rtol=1e-3)


@needs_tensorflow
@pytest.mark.parametrize("effect", [{"dropout": 0.5}, {"label_smoothing": 0.1}, {"weight_decay": 0.1}])
def test_the_last_member_goes_on_alone_with_its_dropout_smoothing_or_decay(
    examples: Examples, effect: dict[str, float]
) -> None:
    run = prepared(examples, group({}, {}, units=16, **effect), 3)
    rows = []
    for number, row in enumerate(run.epochs()):
        rows.append(row)
        if number == 0:
            run.drop(0)  # from now on a stack of one
    assert [row[0] is not None for row in rows] == [True, False, False]
    falling = losses(row[1] for row in rows)[:, 0]
    assert (np.diff(falling) < 0).all()


@needs_tensorflow
def test_dropout_is_each_members_own(examples: Examples) -> None:
    members = group({"dropout": 0.0}, {"dropout": 0.8}, units=32, learning_rate=0.01)
    last = list(prepared(examples, members, 6).epochs())[-1]
    solos = [alone(examples, member, 6)[-1] for member in members]
    assert last[0].loss == pytest.approx(solos[0].loss, rel=1e-3)
    assert last[1].loss == pytest.approx(solos[1].loss, rel=0.15)
    assert last[1].loss > 1.2 * last[0].loss


@needs_tensorflow
def test_the_same_group_gives_the_same_epochs_on_kept_graphs(examples: Examples) -> None:
    fused._cached.clear()
    first = list(prepared(examples, group(*WIDTHS, dropout=0.3)).epochs())
    list(prepared(examples, group(*WIDTHS[::-1], dropout=0.2)).epochs())
    again = list(prepared(examples, group(*WIDTHS, dropout=0.3)).epochs())
    assert len(fused._cached) == 1
    np.testing.assert_array_equal([losses(row) for row in first], [losses(row) for row in again])


@needs_tensorflow
def test_seconds_are_shared_by_those_that_are_alive(examples: Examples) -> None:
    run = prepared(examples, group(*WIDTHS))
    run.drop(2)
    row = next(run.epochs())
    assert row[2] is None
    assert len({epoch.seconds for epoch in row if epoch}) == 1


@needs_tensorflow
def test_the_gain_is_measured_once(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_gains", {})
    first = fused.gain(DENSE, group(*WIDTHS), (8, 8, 1), 8, examples, examples)
    assert first > 0
    monkeypatch.setattr(loop, "prepare", None)
    assert fused.gain(DENSE, group(*WIDTHS), (8, 8, 1), 8, examples, examples) == first
