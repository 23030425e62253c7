"""A backbone and a head as one network, and whether it gives from pixels what the head learned from features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from windrow.experiment import parameters
from windrow.model.composition import backbone_of, compose
from windrow.selection import agreement
from windrow.training import runtime
from windrow.training.networks import Builder

pytestmark = pytest.mark.tensorflow

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution with batch normalisation whose averages are far from those of the images."""
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    parts = [layers.Input((12, 12, 3)), layers.Rescaling(1 / 128, -1), layers.Conv2D(6, 3), layers.BatchNormalization()]
    network = keras.Sequential([*parts, layers.ReLU(), layers.GlobalAveragePooling2D()])
    network.layers[2].moving_mean.assign(np.linspace(-1, 1, 6))
    network.layers[2].moving_variance.assign(np.linspace(0.5, 3, 6))
    path = tmp_path_factory.mktemp("backbone") / "small.keras"
    network.save(path)
    return path


def features(backbone: Path) -> np.ndarray:
    import keras

    return np.asarray(keras.models.load_model(backbone)(IMAGES.astype(np.float32), training=False))


def composed(backbone: Path, **changes: Any) -> tuple[Any, Any]:
    """A head with random weights, and the whole, saved and loaded again."""
    head = Builder("head").build({**parameters.defaults("head"), **changes}, (1, 1, 6), 4)
    head.set_weights([np.random.default_rng(2).normal(0, 1, weight.shape) for weight in head.weights])
    return head, runtime.from_bytes(runtime.to_bytes(compose(backbone, head)))


@pytest.mark.parametrize(
    "changes",
    [{}, {"layers": 2, "units": 5, "activation": "gelu", "dropout": 0.5}, {"l2_normalized": True, "dropout": 0.2}],
    ids=str,
)
def test_pixels_give_what_the_head_gives_for_their_features(backbone: Path, changes: dict[str, Any]) -> None:
    head, whole = composed(backbone, **changes)
    found, stored = np.asarray(whole(IMAGES.astype(np.float32))), features(backbone)
    np.testing.assert_allclose(found, np.asarray(head(stored.reshape(-1, 1, 1, 6))), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(backbone_of(whole)(IMAGES.astype(np.float32))), stored, atol=1e-6)
    assert whole.input_shape == (None, 12, 12, 3)
    assert len(whole.weights) - len(backbone_of(whole).weights) == len(head.weights)


def test_training_the_whole_changes_the_head_only(backbone: Path) -> None:
    """The trap: batch normalisation that learns the new images' averages while the backbone is called frozen."""
    _, whole = composed(backbone)
    before = [np.array(weight) for weight in whole.layers[1].weights]
    whole.compile("sgd", "sparse_categorical_crossentropy")
    whole.fit(IMAGES.astype(np.float32), np.arange(20) % 4, epochs=2, verbose=0)
    for old, new in zip(before, whole.layers[1].weights, strict=True):
        np.testing.assert_array_equal(old, new)
    assert len(whole.trainable_weights) == 2


@pytest.mark.parametrize(("larger", "steep"), [(1, 1), (300, 1), (1, 300)])
def test_stored_features_agree_however_large_they_are_and_however_steep_the_head_is(
    backbone: Path, tmp_path: Path, larger: int, steep: int
) -> None:
    """float16 rounds them, which changes a score by up to 0.1 here."""
    import keras

    network = keras.models.load_model(backbone)
    scaled = keras.Model(network.inputs, keras.layers.Rescaling(larger)(network.outputs[0]))
    scaled.save(tmp_path / "scaled.keras")
    head, _ = composed(backbone)
    head.set_weights([weight * steep for weight in head.get_weights()])
    whole = runtime.to_bytes(compose(tmp_path / "scaled.keras", head))
    stored = features(tmp_path / "scaled.keras").astype(np.float16)
    assert agreement.difference(whole, IMAGES, stored, 1) < agreement.TOLERANCE / 5


def test_features_of_other_images_do_not_agree_where_one_feature_is_large_in_all(
    backbone: Path, tmp_path: Path
) -> None:
    import keras

    network = keras.models.load_model(backbone)
    ones = keras.layers.Concatenate()([network.outputs[0], keras.layers.Rescaling(0, 9)(network.outputs[0])])
    keras.Model(network.inputs, ones).save(tmp_path / "ones.keras")
    head = Builder("head").build(parameters.defaults("head"), (1, 1, 12), 4)
    whole, stored = runtime.to_bytes(compose(tmp_path / "ones.keras", head)), features(tmp_path / "ones.keras")
    assert agreement.difference(whole, IMAGES, stored[::-1].astype(np.float16), 1) > agreement.TOLERANCE


@pytest.mark.parametrize("wrong", ["other images", "other scaling", "training mode"])
def test_features_made_in_another_way_do_not_agree(backbone: Path, wrong: str) -> None:
    import keras

    _, whole = composed(backbone)
    network, pixels = keras.models.load_model(backbone), IMAGES.astype(np.float32)
    if wrong == "other images":
        stored = features(backbone)[::-1]
    elif wrong == "other scaling":
        stored = np.asarray(network(pixels / 255, training=False))
    else:
        network.trainable = True
        stored = np.asarray(network(pixels, training=True))
    assert agreement.difference(runtime.to_bytes(whole), IMAGES, stored.astype(np.float16), 1) > agreement.TOLERANCE
