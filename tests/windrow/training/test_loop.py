from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from windrow.experiment import parameters
from windrow.training import graphs, runtime
from windrow.training.cached import cached_graphs
from windrow.training.data import class_weights
from windrow.training.loop import Epoch, Examples, Run, compile_evaluation, prepare
from windrow.training.networks import Builder

pytestmark = pytest.mark.tensorflow

DENSE = Builder("dense")


@pytest.fixture(scope="module")
def examples() -> Examples:
    """1,000 images of one bright row each; the row is the label."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 8, 1000)
    images = generator.integers(0, 120, (1000, 8, 8, 1), dtype=np.uint8)
    images[np.arange(1000), labels] += 60
    return Examples(images, labels.astype(np.int64))


def prepared(examples: Examples, epochs: int = 2, seed: int = 1, builder: Builder = DENSE, **changes: Any) -> Run:
    values = {**parameters.defaults(builder.name), **changes}
    return prepare(builder, values, (8, 8, 1), 8, examples, examples, epochs, seed)


def run(examples: Examples, epochs: int = 2, seed: int = 1, builder: Builder = DENSE, **changes: Any) -> list[Epoch]:
    return list(prepared(examples, epochs, seed, builder, **changes).epochs())


def figures(epochs: list[Epoch]) -> list[tuple[float, ...]]:
    """What an epoch is, but for its time."""
    return [tuple(value for name, value in epoch.metrics().items() if name != "seconds") for epoch in epochs]


def own(body: str) -> Builder:
    return Builder("mine.py:build", "import keras\ndef build(shape, classes, **own):\n" + body, "build")


def test_an_epoch_has_every_image_once_in_an_order_of_its_own_but_for_the_remainder() -> None:
    """Of 1,000 images batches of 300 leave out 100, others in each epoch."""
    first, second, other_seed = (
        np.asarray(graphs.order(seed, epoch, 1000, 300)) for seed, epoch in ((5, 0), (5, 1), (6, 0))
    )
    for order in (first, second, other_seed):
        assert order.shape == (3, 300)
        assert len(set(order.flat)) == 900
        assert (order.min() >= 0, order.max() < 1000) == (True, True)
        in_place = (order.ravel() == np.arange(900)).sum()
        assert in_place < 20, "shuffled, not as they lie"
    assert set(first.flat) != set(second.flat)
    assert (first != second).mean() > 0.9
    assert (first != other_seed).mean() > 0.9
    np.testing.assert_array_equal(graphs.order(5, 0, 1000, 300), first)
    assert sorted(np.asarray(graphs.order(5, 0, 1000, 250)).flat) == list(range(1000))


@pytest.mark.parametrize(("optimizer", "decay"), [("adam", "none"), ("adam", "cosine"), ("sgd", "cosine")])
def test_training_equals_kerass_own_on_the_batches_of_that_order(
    examples: Examples, optimizer: str, decay: str
) -> None:
    import keras

    changes = {"optimizer": optimizer, "batch_size": 300, "learning_rate": 0.005, "weight_decay": 0.01}
    mine = prepared(examples, 3, seed=5, decay=decay, **changes)
    theirs = keras.models.clone_model(mine.network)
    theirs.set_weights(mine.network.get_weights())
    kind = {"adam": keras.optimizers.Adam, "sgd": lambda rate, **k: keras.optimizers.SGD(rate, momentum=0.9, **k)}
    rate = keras.optimizers.schedules.CosineDecay(0.005, 9) if decay == "cosine" else 0.005
    theirs.compile(kind[optimizer](rate, weight_decay=0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    for number, epoch in enumerate(mine.epochs()):
        batches = np.asarray(graphs.order(5, number, 1000, 300))
        steps = [
            theirs.train_on_batch(examples.images[rows].astype(np.float32), examples.labels[rows]) for rows in batches
        ]
        loss, accuracy = np.mean(steps, axis=0)
        assert (epoch.loss, epoch.accuracy) == pytest.approx((loss, accuracy), rel=1e-3)
    for left, right in zip(mine.network.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, atol=2e-4)


@pytest.mark.parametrize("builder", [DENSE, Builder("cnn")], ids=lambda builder: str(builder.name))
def test_class_weights_count_in_the_training_loss_as_in_kerass_own_and_nowhere_else(
    examples: Examples, builder: Builder
) -> None:
    import keras

    rare = Examples(
        *(part[np.argsort(examples.labels, stable=True)][60:900] for part in (examples.images, examples.labels))
    )
    changes: dict[str, Any] = {"optimizer": "sgd", "batch_size": 210, "dropout": 0.0, "batch_norm": False}
    mine = prepared(rare, 2, seed=5, builder=builder, class_weight="balanced", **changes)
    theirs = keras.models.clone_model(mine.network)
    theirs.set_weights(mine.network.get_weights())
    theirs.compile(keras.optimizers.SGD(0.001, momentum=0.9), "sparse_categorical_crossentropy")
    weights = dict(enumerate(class_weights(rare.labels, 8).tolist()))
    assert max(weights.values()) > 1.5
    for number, epoch in enumerate(mine.epochs()):
        losses = []
        for rows in np.asarray(graphs.order(5, number, 840, 210)):
            batch = rare.images[rows].astype(np.float32), rare.labels[rows]
            theirs.reset_metrics()
            losses.append(float(theirs.train_on_batch(*batch, class_weight=weights)))
        assert epoch.loss == pytest.approx(np.mean(losses), rel=1e-4)
    for left, right in zip(mine.network.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)
    loss, predicted, _ = compile_evaluation(mine.network, rare)()
    assert (epoch.val_loss, epoch.val_accuracy) == pytest.approx((loss, np.mean(predicted == rare.labels)), rel=1e-5)


@pytest.mark.parametrize("builder", ["dense", "cnn"])
def test_a_normalised_network_is_measured_as_it_was_trained_after_a_few_dozen_steps(
    builder: str, examples: Examples
) -> None:
    """The validation images are the training images here, so nothing but the averages can differ."""
    found = run(examples, 2, 1, Builder(builder), batch_norm=True, batch_size=50, learning_rate=0.003, dropout=0.0)
    assert found[-1].val_accuracy > found[-1].accuracy - 0.05
    assert found[-1].accuracy > 0.9


def test_validation_images_are_never_augmented(examples: Examples) -> None:
    """With a learning rate of next to nothing, an epoch is measured with the weights that it began with."""
    changes: dict[str, Any] = {"shift": 3.0, "rotation": 90.0, "zoom": 0.5, "flip": True, "contrast": 1.0}
    augmented, plain = (run(examples, 1, learning_rate=1e-8, **each) for each in ({**changes, "brightness": 1.0}, {}))
    assert augmented[0].val_loss == pytest.approx(plain[0].val_loss, rel=1e-5)
    assert augmented[0].loss != pytest.approx(plain[0].loss, rel=1e-4)


def test_macro_f1_is_measured_over_all_validation_images_if_it_is_asked_for(examples: Examples) -> None:
    from sklearn.metrics import f1_score

    values = {**parameters.defaults("dense"), "learning_rate": 0.005}
    measured = prepare(DENSE, values, (8, 8, 1), 8, examples, examples, 2, 1, macro_f1=True)
    epochs = list(measured.epochs())
    _, predicted, _ = compile_evaluation(measured.network, examples)()
    assert epochs[-1].val_macro_f1 == pytest.approx(f1_score(examples.labels, predicted, average="macro"), rel=1e-12)
    plain = run(examples, learning_rate=0.005)
    assert [list(epoch.metrics()) for epoch in plain] == [
        ["loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    ] * 2
    assert [each[:4] for each in figures(epochs)] == figures(plain), "the other figures are the same to the bit"


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
    assert figures(run(examples, batch_size=60000)) == figures(run(examples, batch_size=1000))


def test_a_loss_that_is_not_finite_is_seen(examples: Examples) -> None:
    epochs = run(examples, learning_rate=10.0, optimizer="sgd", layers=8, units=512, momentum=0.99, epochs=3)
    assert not epochs[-1].finite


def test_evaluation_covers_every_image_once_whatever_the_remainder(examples: Examples) -> None:
    network = prepared(examples).network
    odd = Examples(examples.images[:777], examples.labels[:777])
    probabilities = np.asarray(network(odd.images.astype(np.float32)))
    loss, predicted, confidence = compile_evaluation(network, odd)()
    assert predicted.tolist() == probabilities.argmax(1).tolist()
    np.testing.assert_allclose(confidence, probabilities.max(1), rtol=1e-5)
    assert loss == pytest.approx(-np.log(probabilities[np.arange(777), odd.labels]).mean(), rel=1e-4)


def test_a_network_that_ends_in_another_softmax_trains_too(examples: Examples) -> None:
    builder = own(
        "    image = keras.Input(shape)\n"
        "    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))\n"
        "    return keras.Model(image, keras.layers.Dense(classes, activation='softmax')(x))\n"
    )
    assert run(examples, 15, builder=builder, learning_rate=0.01)[-1].val_accuracy > 0.9


RECIPES = [
    {"dropout": 0.4, "batch_norm": True, "optimizer": "adam", "decay": "cosine"},
    {"dropout": 0.4, "batch_norm": True, "optimizer": "sgd", "decay": "cosine", "weight_decay": 0.01},
    {"shift": 1.0, "rotation": 10.0, "optimizer": "sgd"},
    {"zoom": 0.2, "flip": True, "contrast": 0.3, "brightness": 0.2, "class_weight": "balanced"},
    {"builder": Builder("cnn"), "filters": 2},
]


@pytest.fixture
def nothing_kept() -> Iterator[None]:
    cached_graphs.cached.clear()
    yield
    cached_graphs.cached.clear()


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_trial_on_kept_graphs_gives_the_very_epochs_of_one_on_new_graphs(
    examples: Examples, recipe: dict[str, Any]
) -> None:
    new = run(examples, **recipe)
    run(examples, seed=7, **{**recipe, "learning_rate": 0.1, "momentum": 0.1})
    run(examples, seed=8, units=5)
    kept = run(examples, **recipe)
    assert len(cached_graphs.cached) == 2
    assert figures(kept) == figures(new)
    cached_graphs.cached.clear()
    assert figures(run(examples, **recipe)) == figures(new)


@pytest.mark.usefixtures("nothing_kept")
def test_what_a_trial_chooses_freely_needs_no_new_graph(examples: Examples) -> None:
    free = {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.1, "dropout": 0.9, "shift": 2.0, "seed": 9}
    free |= {"zoom": 0.3, "contrast": 0.9, "brightness": 0.1}
    run(examples, dropout=0.1, weight_decay=0.01, rotation=1.0, decay="cosine", zoom=0.1, contrast=0.1, brightness=0.4)
    (compiled,) = cached_graphs.cached.values()
    graph = compiled.trainer._compiled._traced
    run(examples, **free, epochs=3)
    run(Examples(examples.images[:300], examples.labels[:300]), **free)
    assert [kept.trainer._compiled._traced for kept in cached_graphs.cached.values()] == [graph]


@pytest.mark.usefixtures("nothing_kept")
def test_only_the_last_kinds_are_kept(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_graphs, "KINDS", 2)
    for layers in (1, 2, 3, 2, 4):
        prepared(examples, layers=layers)
    assert [dict(key[1])["layers"] for key in cached_graphs.cached] == [2, 4]  # type: ignore[index]


FLAT = (
    "    {line}\n    i = keras.Input(shape)\n    x = keras.layers.Flatten()(i)\n"
    "    return keras.Model(i, keras.layers.Dense(classes, activation='softmax')(x))\n"
)
FLAT, MEDDLING = FLAT.format(line="pass"), FLAT.format(line="{line}")


MEDDLERS = [
    "keras.utils.set_random_seed(999)",
    "keras.config.set_dtype_policy('mixed_float16')",
    "keras.config.set_floatx('float64')",
    "keras.config.set_epsilon(0.5)",
    "keras.config.set_image_data_format('channels_first')",
    "__import__('tensorflow').config.run_functions_eagerly(True)",
    "keras.config.set_dtype_policy('float16'); raise ValueError",
]


def settings() -> tuple[Any, ...]:
    import keras
    import tensorflow as tf

    config, eagerly = keras.config, tf.config.functions_run_eagerly()
    return config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy().name, eagerly


@pytest.mark.usefixtures("nothing_kept")
def test_what_a_users_builder_sets_does_not_reach_the_next_trial(examples: Examples) -> None:
    next_ones: list[dict[str, Any]] = [{"builder": Builder("cnn"), "filters": 2}, {"builder": own(FLAT)}]
    before, set_before = [figures(run(examples, **one)) for one in next_ones], settings()
    for line in MEDDLERS:
        with contextlib.suppress(ValueError):
            run(examples, 1, builder=own(MEDDLING.format(line=line)))
        assert settings() == set_before, line
    cached_graphs.cached.clear()
    assert [figures(run(examples, **one)) for one in next_ones] == before


@pytest.mark.usefixtures("nothing_kept")
def test_the_saved_network_predicts_and_tells_what_was_trained(examples: Examples) -> None:
    run(examples, dropout=0.1, batch_norm=True, seed=3)
    trained = prepared(examples, dropout=0.3, batch_norm=True)
    *_, last = trained.epochs()
    loaded = runtime.from_bytes(runtime.to_bytes(trained.network))
    loss, predicted, _ = compile_evaluation(loaded, examples)()
    measured = (loss, np.mean(predicted == examples.labels))
    assert measured == pytest.approx((last.val_loss, last.val_accuracy), rel=1e-5)
    assert [layer.rate for layer in loaded.layers if type(layer).__name__ == "Dropout"] == [0.3]


def test_a_run_ends_where_the_next_one_of_its_architecture_begins(examples: Examples) -> None:
    first = prepared(examples)
    prepared(examples, seed=2)
    with pytest.raises(RuntimeError, match="a run must end before the next"):
        next(first.epochs())


def test_a_constraint_of_a_users_layer_holds_after_every_step(examples: Examples) -> None:
    builder = own(FLAT.replace("'softmax'", "'softmax', kernel_constraint='non_neg'"))
    trained = prepared(examples, builder=builder, learning_rate=0.1)
    list(trained.epochs())
    assert trained.network.get_weights()[0].min() >= 0
