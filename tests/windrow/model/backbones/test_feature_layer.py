"""A network is cut at the layer that gives features, and stays as it is whatever is trained above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from windrow.errors import UserError
from windrow.model.backbones.feature_layer import cut

pytestmark = pytest.mark.tensorflow
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def _threads() -> None:
    from windrow.training.runtime import import_tensorflow

    import_tensorflow(threads=1)


def network(end: str = "pooling", shape: Any = (8, 8, 3), dtype: str = "float32") -> Any:
    """A small network with batch normalization. `end`: maps, pooling, embedding, scores, or scores without pooling."""
    import keras
    from keras import layers

    image = keras.Input(shape, dtype=dtype)
    x = layers.Conv2D(4, 3, name="maps")(layers.Rescaling(1 / 255)(image))
    x = layers.BatchNormalization(name="normalized")(x)
    if end != "maps":
        pooling = layers.Flatten if end == "flat" else layers.GlobalAveragePooling2D
        x = pooling(name="pooled")(x)
    if end == "embedding":
        x = layers.Dense(3, name="embedded")(x)
    if end in ("scores", "flat"):
        x = layers.Dense(2, activation="softmax", name="scores")(x)
    return keras.Model(image, x)


@pytest.mark.parametrize(
    ("end", "layer", "features"),
    [
        ("pooling", None, 4),
        ("embedding", None, 3),
        ("embedding", "pooled", 4),
        ("scores", None, 4),
        ("scores", "scores", 2),
        ("flat", "pooled", 144),
        ("maps", None, 4),
        ("scores", "maps", 4),
    ],
)
def test_features_are_the_output_or_the_pooled_maps_or_what_the_page_names(
    end: str, layer: str | None, features: int
) -> None:
    assert cut(network(end), layer, "small").output_shape == (None, features)


def test_maps_are_averaged_and_a_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    import keras

    whole = network("maps")
    found = np.asarray(cut(whole, None, "small")(IMAGES))
    assert "small: the features are the means over height and width of (n, 6, 6, 4)" in capsys.readouterr().err
    assert np.abs(found - keras.ops.convert_to_numpy(whole(IMAGES)).mean(axis=(1, 2))).max() < 1e-6


def test_a_network_within_a_network_can_be_named() -> None:
    import keras

    inner = network("maps")
    image = keras.Input((8, 8, 3))
    outer = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(inner(image) * 2)))
    assert cut(outer, inner.name, "nested").output_shape == (None, 4)


def test_batch_normalization_learns_nothing_while_a_head_is_trained_on_a_frozen_network() -> None:
    import keras

    frozen = cut(network(), None, "small")
    before = [weights.copy() for weights in frozen.get_weights()]
    features = np.asarray(frozen(IMAGES, training=False))
    whole = keras.Sequential([frozen, keras.layers.Dense(2, activation="softmax")])
    whole.compile("sgd", "sparse_categorical_crossentropy")

    whole.fit(IMAGES, np.arange(6) % 2, epochs=2, verbose=0)

    assert all(np.array_equal(a, b) for a, b in zip(before, frozen.get_weights(), strict=True))
    assert np.array_equal(np.asarray(frozen(IMAGES, training=True)), features)


def test_features_of_lower_precision_become_float32() -> None:
    import keras

    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D(dtype="float16")(keras.layers.Conv2D(4, 3, dtype="float16")(image))
    assert cut(keras.Model(image, x), None, "half").output.dtype == "float32"


@pytest.mark.parametrize(
    ("make", "layer", "message"),
    [
        (lambda: network("flat"), None, r"without a global pooling layer; .* one of .*maps, normalized, pooled"),
        (
            lambda: inside(network("scores")),
            None,
            "small ends in a classifier, its inner network inner; save that one by",
        ),
        (lambda: two_outputs(), None, "small has 2 outputs and no global pooling layer; .* be one of maps, flat$"),
        (lambda: network("scores"), "poled", "must be a layer of small; got 'poled'; take one such as pooled"),
        (lambda: network(shape=(8, 8, 1)), None, r"RGB; small takes \(n, 8, 8, 1\); name another network"),
        (lambda: network(shape=(None, None, 3)), None, r"takes \(n, any, any, 3\); save it with keras.Input"),
        (
            lambda: network(shape=(8, 12, 3)),
            None,
            r"must take square images, as they are prepared; small takes \(n, 8, 12, 3\); name another network",
        ),
        (lambda: network(dtype="uint8"), None, "must take float32 from 0 to 255; small takes uint8"),
        (lambda: rows(), None, r"takes \(n, 8\); name another network"),
        (lambda: words(), None, r"gives \(n, 8, 24\); let network.backbone_layer be one of"),
        (lambda: pair(), None, "must take one image; small has 2 inputs"),
    ],
)
def test_a_network_that_gives_no_features_is_refused_with_what_to_do(
    make: Callable[[], Any], layer: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        cut(make(), layer, "small")


def inside(inner: Any) -> Any:
    """A network within another one, as its last layer."""
    import keras

    inner.name = "inner"
    return keras.Sequential([keras.Input((8, 8, 3)), inner])


def two_outputs() -> Any:
    import keras

    image = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(4, 3, name="maps")(image)
    return keras.Model(image, {"maps": maps, "flat": keras.layers.Flatten(name="flat")(maps)})


def rows() -> Any:
    import keras

    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])


def words() -> Any:
    import keras

    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Reshape((8, 24))])


def pair() -> Any:
    import keras

    left, right = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return keras.Model([left, right], left + right)
