"""Join a backbone and a trained head into one network from images to probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def compose(backbone: Path, head: Any) -> Any:
    """Return a keras.Model of a frozen backbone and a head on it.

    The backbone stays as it is for good: none of its weights is trainable, and batch normalisation keeps its averages
    also where the whole network is trained further.

    Args:
        backbone: a .keras file of a network that takes float32 (n, height, width, 3) in 0..255 and gives (n, features).
        head: a keras.Model, a chain of layers that takes (n, 1, 1, features) and begins with a Flatten. The result
            shares its layers, so that it must not be trained or changed afterwards.
    """
    import keras

    base = keras.saving.load_model(backbone, compile=False)
    base.trainable = False
    image = keras.Input(base.input_shape[1:])
    x = base(image, training=False)
    for layer in head.layers[2:]:  # without the input and the Flatten
        x = layer(x)
    return keras.Model(image, x)


def backbone_of(network: Any) -> Any:
    """Return the backbone of what `compose` made, as a keras.Model that takes images and gives features."""
    return network.layers[1]
