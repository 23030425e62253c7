"""One image to pixels: the same code for a folder of training images and for scored URLs.

Pillow's and TensorFlow's bilinear filters differ enough to flip labels at the margin, so there is only this one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# What Pillow may open; other formats have had more holes than use.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")


def to_pixels(image: Image.Image, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """An opened image upright, in grey (channels 1) or RGB (3), resized: uint8, shape (height, width, channels).

    Alpha is laid over black, as MNIST's background is. Raises what Pillow raises for a broken image (OSError mostly).
    """
    upright: Any = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        # convert() would clip 16-bit grey at 255 instead of scaling it.
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    elif upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        ground = Image.new("RGBA", upright.size, (0, 0, 0, 255))
        upright = Image.alpha_composite(ground, upright)
    upright = upright.convert("L" if channels == 1 else "RGB")
    if upright.size != (width, height):
        upright = upright.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(upright, dtype=np.uint8).reshape(height, width, channels)
