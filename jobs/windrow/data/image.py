"""One image to pixels: the same code for a folder of training images and for scored URLs.

Pillow's and TensorFlow's bilinear filters differ enough to flip labels at the margin, so there is only this one. A
network that others have trained may want another; on 68 photographs, MobileNet gives 11 of them another label by the
first filter below than by the second, which it was trained with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

if TYPE_CHECKING:  # executors that label images need no pydantic
    from windrow.experiment.rules.network_file import Resize

# What Pillow may open; other formats have had more holes than use.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")

DRAFT = 3
"""A JPEG may be decoded at a half, a quarter or an eighth of its size where that still has so many times the asked one.

That saves 1 of 9 ms an image at 1,200 pixels' width, 33 of 47 at 2,400 and 131 of 152 at 4,000 for an input of 192. Of
the 68 photographs, enlarged to 1,200 and 2,400 pixels, 68 and 67 keep their label, and no score moves by more than
0.03; with 2 in place of 3 it were 67 and 66 (0.05), with 1, 63 and 62 (0.13). As they are (500 pixels), none changes.
"""


def to_pixels(
    image: Image.Image, height: int, width: int, channels: int, resize: Resize = "smooth"
) -> NDArray[np.uint8]:
    """Convert an opened image to pixels, upright and resized: uint8, shape (height, width, channels).

    Alpha is laid over black, as MNIST's background is. Raises what Pillow raises for a broken image (OSError mostly).

    Args:
        image: opened by Pillow.
        height: of the result, pixels.
        width: of the result, pixels.
        channels: 1 for grey, 3 for RGB.
        resize: one of three bilinear filters. smooth: a pixel is the mean of all that it covers; networks are trained
            with this one here. plain: it is mixed of the four pixels around its centre, as tf.image.resize does.
            corner: of those around its upper left corner, as TensorFlow 1 did.
    """
    if resize == "smooth":  # the others look at single pixels, which a draft has averaged
        side = DRAFT * max(height, width)
        image.draft(None, (side, side))
    upright, mode = flat(image), "L" if channels == 1 else "RGB"
    if upright.mode != mode:  # or Pillow would copy it: this and the copy of `flat` were 0.3 of 2.8 ms a photograph
        upright = upright.convert(mode)
    if resize == "smooth" and upright.size != (width, height):
        upright = upright.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(upright, np.uint8).reshape(upright.height, upright.width, channels)
    if upright.size != (width, height):
        pixels = _between_neighbours(pixels, height, width, centred=resize == "plain")
    return pixels


def flat(image: Image.Image) -> Image.Image:
    """An opened image upright, eight bits deep and without transparency. What is opened may be turned in place."""
    upright: Any = image
    ImageOps.exif_transpose(upright, in_place=True)  # a new image would be a copy, also of one that is upright
    if upright.mode.startswith("I;16"):
        # convert() would clip 16-bit grey at 255 instead of scaling it.
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    elif upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        ground = Image.new("RGBA", upright.size, (0, 0, 0, 255))
        upright = Image.alpha_composite(ground, upright)
    return upright  # type: ignore[no-any-return]


def _between_neighbours(pixels: NDArray[np.uint8], height: int, width: int, centred: bool) -> NDArray[np.uint8]:
    """Resize as TensorFlow's bilinear filter does, rounded; `pixels` is (height, width, channels) of any size."""
    above, below, down = _neighbours(pixels.shape[0], height, centred)
    left, right, across = _neighbours(pixels.shape[1], width, centred)
    upper, lower = pixels[above], pixels[below]
    across = across[:, None]
    top = _mixed(upper.take(left, axis=1), upper.take(right, axis=1), across)
    bottom = _mixed(lower.take(left, axis=1), lower.take(right, axis=1), across)
    return np.rint(_mixed(top, bottom, down[:, None, None])).astype(np.uint8)


def _neighbours(
    size: int, wanted: int, centred: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each of the wanted rows (or columns): the two that it lies between, and how near it is to the second."""
    half = 0.5 if centred else 0.0
    place = np.maximum((np.arange(wanted) + half) * (size / wanted) - half, 0)
    first = place.astype(np.intp)
    return first, np.minimum(first + 1, size - 1), (place - first).astype(np.float32)


def _mixed(first: NDArray[Any], second: NDArray[Any], share: NDArray[np.float32]) -> NDArray[np.float32]:
    start = first.astype(np.float32)
    return start + (second - start) * share
