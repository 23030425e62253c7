"""Run a network on drawn images, and refuse it as a backbone before any work if its features are of no use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.errors import UserError
from windrow.model import canaries
from windrow.model.backbone import TOLERANCE
from windrow.model.form import Shape

MOST_FEATURES = 65_536
"""The most features of an image. VGG16 has 25,088 before its first dense layer."""
SMALLEST, LARGEST = 1e-4, 65_504
"""Between these is the largest feature of the drawn images: float16 has steps of 6e-8 near 0, and ends at 65,504."""
_SAME = 1e-6


def features(part: Any, shape: Shape, name: str) -> NDArray[np.float32]:
    """Return the features of canaries.images(shape), float32 (3, features), after checking them.

    Args:
        part: a Keras network from feature_layer.cut.
        shape: (height, width, 3) of its images.
        name: the backbone's name, for messages.

    Raises:
        UserError: there are too many features, the network can't take one image, or the features are not finite, all
            0, too large or too small for float16, the same for every image, or depend on chance or on other images.
    """
    count = part.output_shape[-1]
    if count > MOST_FEATURES:
        raise UserError(
            f"network.backbone must give at most {MOST_FEATURES:,} features; {name} gives {count:,}; "
            "let network.backbone_layer be a layer with fewer, such as a global pooling layer"
        )
    drawn = canaries.images(shape).astype(np.float32)
    try:
        found = np.asarray(part(drawn, training=False))
        alone = np.concatenate([np.asarray(part(image[np.newaxis], training=False)) for image in drawn])
    except Exception as error:  # any error is the network's fault: TensorFlow raises a dozen types
        raise UserError(
            f"network.backbone must take any number of images of {shape}; {name} fails: {_reason(error)}; save it with "
            f"keras.Input({shape}), without a batch size"
        ) from error
    _check(found, name)
    if not np.abs(found - alone).max() <= TOLERANCE * np.abs(found).max():
        raise UserError(
            f"network.backbone must give an image the same features each time, whatever other images there are; {name} "
            "does not; save it without means over a batch, and without noise that is always on"
        )
    return found


def _check(found: NDArray[np.float32], name: str) -> None:
    largest = float(np.abs(found).max())
    pixels = "check its weights, and that it takes pixels from 0 to 255"
    if not np.isfinite(found).all() or not largest:
        raise UserError(f"network.backbone must give finite features that are not all 0; {name} does not; {pixels}")
    if not SMALLEST <= largest <= LARGEST:
        raise UserError(
            f"network.backbone must give features whose largest is between {SMALLEST} and {LARGEST:,}, which float16 "
            f"holds; {name} gives {largest:.3g}; save it with a keras.layers.Rescaling at its end"
        )
    if float(np.ptp(found, axis=0).max()) <= _SAME * largest:
        raise UserError(f"network.backbone must give different images different features; {name} does not; {pixels}")


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
