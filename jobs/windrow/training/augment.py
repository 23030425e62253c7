"""Shift and rotate the images of a batch at random, inside the compiled epoch."""

from __future__ import annotations

import math
from typing import Any


def shift_and_rotate(images: Any, seed: Any, shift: Any, rotation: Any) -> Any:
    """Shift and rotate each image by its own random amount; areas that the image leaves empty become 0.

    Args:
        images: float32 tensor (n, height, width, channels).
        seed: int32 tensor (2,); the same seed gives the same result.
        shift: largest shift in each direction, pixels; a float or a float32 scalar.
        rotation: largest rotation in each direction, degrees; a float or a float32 scalar.
    """
    import tensorflow as tf

    shape = tf.shape(images)
    limits = tf.cast(tf.stack([[rotation * (math.pi / 180), shift, shift]]), tf.float32)
    angle, dx, dy = tf.unstack(tf.random.stateless_uniform([shape[0], 3], seed, -1.0, 1.0) * limits, axis=1)
    cos, sin, zero = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle)
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
