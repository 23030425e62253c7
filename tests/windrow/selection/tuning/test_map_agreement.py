"""That a fine-tuned champion labels pixels as it was validated on maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from windrow.errors import StudyError
from windrow.model.composition import compose
from windrow.selection import agreement
from windrow.selection.tuning import map_agreement

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), np.uint8)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A backbone of two blocks and a head, as a file's bytes."""
    import keras
    from windrow.experiment import parameters
    from windrow.training import runtime
    from windrow.training.networks import Builder

    keras.utils.set_random_seed(1)
    image = keras.Input((12, 12, 3))
    x = keras.layers.Rescaling(1 / 128, -1)(image)
    for number in range(2):
        x = keras.layers.Conv2D(5, 3, activation="relu", name=f"block{number}_conv")(x)
    path = tmp_path_factory.mktemp("backbone") / "two.keras"
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)).save(path)
    return runtime.to_bytes(compose(path, Builder("head").build(parameters.defaults("head"), (1, 1, 5), 3)))


@pytest.mark.tensorflow
@pytest.mark.parametrize("blocks", [1, 2])
def test_by_way_of_maps_a_network_gives_the_features_that_the_pixels_give(network: bytes, blocks: int) -> None:
    """With all blocks trained, the maps are what the first one takes."""
    assert map_agreement.difference(network, blocks, IMAGES, 1) < agreement.TOLERANCE / 5


@pytest.mark.tensorflow
def test_other_features_from_maps_are_found(network: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from windrow.sweep.tuning import upper

    def from_darker(cut: Any, maps: Any) -> Any:
        return whole(cut, maps * 0.9)

    whole = upper.features_of
    monkeypatch.setattr(upper, "features_of", from_darker)
    assert map_agreement.difference(network, 1, IMAGES, 1) > agreement.TOLERANCE


@pytest.mark.parametrize("apart", [0.011, float("nan")])
def test_a_difference_is_an_error_that_names_the_key(apart: float) -> None:
    map_agreement.check_difference(0.01)
    with pytest.raises(
        StudyError, match=r"within 1% of the largest; they differ by .*; change promotion.fine_tune.blo"
    ):
        map_agreement.check_difference(apart)
