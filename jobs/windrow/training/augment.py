"""Change the images of a batch at random, inside the compiled epoch. Validation and test images are never changed.

A trial's graph has only the changes that its hyper-parameters ask for (`kinds`); the limits are arguments of the graph.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from windrow.experiment.parameters import Value

# Each kind has a stream of random numbers of its own: switching one on leaves the draws of the others as they are.
# `move` draws from the seed itself. The distance is larger than any number of epochs.
_STREAMS = {"flip": 1 << 26, "zoom": 2 << 26, "contrast": 3 << 26, "brightness": 4 << 26}


def kinds(parameters: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the changes that a trial asks for: of flip, move (shift or rotation), zoom, contrast and brightness."""
    wanted = {
        "flip": parameters["flip"],
        "move": parameters["shift"] or parameters["rotation"],
        **{name: parameters[name] for name in ("zoom", "contrast", "brightness")},
    }
    return tuple(name for name, value in wanted.items() if value)


def augment(images: Any, seed: Any, limits: Mapping[str, Any], kinds: Collection[str]) -> Any:
    """Change each image by its own random amounts.

    Args:
        images: float32 tensor (n, height, width, channels), 0..255.
        seed: int32 tensor (2,); the same seed gives the same result.
        limits: the hyper-parameters shift, rotation, zoom, contrast and brightness: floats or float32 scalars.
        kinds: the changes to make, from `kinds`.

    Returns:
        float32 tensor of the same shape; 0..255 if the images were.
    """
    if "flip" in kinds:
        images = mirror(images, _draw(images, seed, "flip") < 0)
    if "move" in kinds or "zoom" in kinds:
        scale = 1 + limits["zoom"] * _draw(images, seed, "zoom") if "zoom" in kinds else None
        images = move(images, seed, limits["shift"], limits["rotation"], scale)
    if "contrast" in kinds:
        images = change_contrast(images, 1 + limits["contrast"] * _draw(images, seed, "contrast"))
    if "brightness" in kinds:
        images = change_brightness(images, 255 * limits["brightness"] * _draw(images, seed, "brightness"))
    return images


def _draw(images: Any, seed: Any, kind: str) -> Any:
    """Draw a number in -1..1 per image, float32 (n,)."""
    import tensorflow as tf

    return tf.random.stateless_uniform([tf.shape(images)[0]], seed + tf.constant([0, _STREAMS[kind]]), -1.0, 1.0)


def mirror(images: Any, chosen: Any) -> Any:
    """Mirror the chosen images, bool (n,), left to right."""
    import tensorflow as tf

    return tf.where(chosen[:, None, None, None], tf.reverse(images, [2]), images)


def move(images: Any, seed: Any, shift: Any, rotation: Any, scale: Any = None) -> Any:
    """Shift and rotate each image by its own random amount; areas that the image leaves empty become 0.

    Args:
        images: float32 tensor (n, height, width, channels).
        seed: int32 tensor (2,); the same seed gives the same result.
        shift: largest shift in each direction, pixels; a float or a float32 scalar.
        rotation: largest rotation in each direction, degrees; a float or a float32 scalar.
        scale: how many times farther from the centre each output pixel reads its input, float32 (n,): above 1 the image
            shrinks, as in Keras' RandomZoom; None for 1.
    """
    import tensorflow as tf

    shape = tf.shape(images)
    limits = tf.cast(tf.stack([[rotation * (math.pi / 180), shift, shift]]), tf.float32)
    angle, dx, dy = tf.unstack(tf.random.stateless_uniform([shape[0], 3], seed, -1.0, 1.0) * limits, axis=1)
    cos, sin, zero = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle)
    if scale is not None:
        cos, sin = cos * scale, sin * scale
    center_y, center_x = (tf.cast(shape[1], tf.float32) - 1) / 2, (tf.cast(shape[2], tf.float32) - 1) / 2
    # Output (x, y) reads input (cos x - sin y + c, sin x + cos y + f): a turn about the centre, then the shift.
    column = center_x - cos * center_x + sin * center_y + dx
    row = center_y - sin * center_x - cos * center_y + dy
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([cos, -sin, column, sin, cos, row, zero, zero], axis=1),
        output_shape=shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def change_contrast(images: Any, factors: Any) -> Any:
    """Multiply each image's distance from its mean, channel by channel, by its factor (n,); keep within 0..255.

    As in Keras' RandomContrast: a factor of 0 leaves the mean, 1 the image.
    """
    import tensorflow as tf

    mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
    return tf.clip_by_value((images - mean) * factors[:, None, None, None] + mean, 0.0, 255.0)


def change_brightness(images: Any, amounts: Any) -> Any:
    """Add to each image's pixels its amount (n,), in levels; keep within 0..255. As in Keras' RandomBrightness."""
    import tensorflow as tf

    return tf.clip_by_value(images + amounts[:, None, None, None], 0.0, 255.0)
