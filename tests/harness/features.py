"""What tests of features need: images of noise as a prepared data set, a small backbone, and a page that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from windrow.data import shards
from windrow.data.sources import Source
from windrow.experiment import DatasetSection

SIDE = 8
FEATURES = 32
PAGE = """
name: photos
dataset: {{source: {folder}, image_size: 8}}
network: {{backbone: {backbone}, parameters: {{views: 3}}}}
space: {{learning_rate: {{type: float, low: 0.001, high: 0.01}}}}
"""


def noise(count: int, first: int = 0) -> NDArray[np.uint8]:
    """Images of 8 x 8 pixels; those of other numbers differ."""
    return np.stack(
        [np.random.default_rng(first + number).integers(0, 256, (SIDE, SIDE, 3), np.uint8) for number in range(count)]
    )


def prepare(folder: Path, pixels: NDArray[np.uint8], cropped: NDArray[np.uint8] | None = None) -> Path:
    """Write a prepared data set of two classes; with cropped images next to the others, one of both fits."""
    labels = np.arange(len(pixels), dtype=np.int64) % 2
    source = Source("made", pixels, labels, None, None, ("ant", "bee"), train_cropped=cropped)
    fit: Literal["squash", "both"] = "squash" if cropped is None else "both"
    shards.write(folder, source, DatasetSection(validation=0.2, test=0.2, fit=fit))
    return folder


def save_backbone(path: Path) -> Path:
    """Save a network with a convolution and a mean: 32 features of an image of 8 x 8 pixels."""
    import keras

    keras.utils.set_random_seed(1)
    layers = [
        keras.layers.Input((SIDE, SIDE, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(FEATURES, 3),
        keras.layers.GlobalAveragePooling2D(),
    ]
    keras.Sequential(layers).save(path)
    return path


def write_page(folder: Path, backbone: Path) -> Path:
    """Write the page photos.yaml with this backbone and three views."""
    page = folder / "photos.yaml"
    page.write_text(PAGE.format(backbone=backbone, folder=folder))
    return page
