from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SIDE = 12


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two blocks, each with batch normalisation whose averages are not those of the images, and with dropout."""
    import keras

    keras.utils.set_random_seed(1)
    layers, rng = keras.layers, np.random.default_rng(1)
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 128, -1)(image)
    for number in range(2):
        x = layers.Conv2D(5, 3, name=f"block{number}_conv")(x)
        x = layers.BatchNormalization(name=f"block{number}_bn")(x)
        x = layers.Dropout(0.5, name=f"block{number}_drop")(layers.ReLU(name=f"block{number}_relu")(x))
    network = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    for number in range(2):
        normalization = network.get_layer(f"block{number}_bn")
        normalization.set_weights([rng.uniform(0.5, 2, 5) for _ in range(4)])
    network.trainable = False
    path = tmp_path_factory.mktemp("backbone") / "two.keras"
    network.save(path)
    return path


@pytest.fixture(scope="session")
def composed(backbone: Path) -> bytes:
    """The backbone and a head with random weights, as a file's bytes."""
    from windrow.experiment import parameters
    from windrow.model.composition import compose
    from windrow.training import runtime
    from windrow.training.networks import Builder

    head = Builder("head").build({**parameters.defaults("head"), "layers": 1, "units": 6}, (1, 1, 5), 3)
    head.set_weights([np.random.default_rng(2).normal(0, 0.5, weight.shape) for weight in head.weights])
    return runtime.to_bytes(compose(backbone, head))


@pytest.fixture(scope="session")
def images() -> Callable[[int, int], Any]:
    """So many images of three kinds by brightness, with labels, from a seed."""
    from windrow.training.data import Examples

    def draw(count: int, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, count)
        pixels = rng.normal(60 + 60 * labels[:, None, None, None], 30, (count, SIDE, SIDE, 3))
        return Examples(np.clip(pixels, 0, 255).astype(np.uint8), labels)

    return draw
