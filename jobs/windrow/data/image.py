"""Convert an image to pixels, with the same code for a folder of training images and for scored URLs.

Pillow's and TensorFlow's bilinear filters differ enough to flip close labels, so training and scoring both use Pillow's
(`smooth`). A network trained elsewhere may need `plain` or `corner`: MobileNet, trained with `plain`, gives 11 of 68
photographs a different label under `smooth`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

if TYPE_CHECKING:  # executors that label images need no pydantic
    from windrow.experiment.rules.network_file import Resize

DRAFT = 3
"""Under `smooth`, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size if that is at least DRAFT times the requested size.

For an input of 192 pixels, this saves 1 of 9 ms per image of 1,200 pixels' width, 33 of 47 ms at 2,400 and 131 of 152
ms at 4,000. Of the 68 photographs, enlarged to 1,200 and 2,400 pixels, 68 and 67 keep their label, and no score changes
by more than 0.03. With 2 in place of 3, 67 and 66 keep their label (0.05), and with 1, 63 and 62 (0.13). At their
original size, 500 pixels, no label changes.
"""


CROPPED_FROM = 256 / 224
"""Under `crop`, the sides of the resized image by those of the square that is cut out: what ImageNet's networks, of 224
pixels, are usually evaluated with."""


def to_pixels(
    image: Image.Image, height: int, width: int, channels: int, resize: Resize | Literal["crop"] = "smooth"
) -> NDArray[np.uint8]:
    """Return an opened image's pixels, upright and resized: uint8, shape (height, width, channels).

    Transparent parts are laid over black, MNIST's background. A broken image raises what Pillow raises, mostly OSError.

    Args:
        image: opened by Pillow; it may be changed in place.
        height: height of the result, pixels.
        width: width of the result, pixels.
        channels: 1 for grey, 3 for RGB.
        resize: one of three bilinear filters, which change the proportions, or crop. smooth: Pillow's, a weighted mean
            of all pixels near the new pixel, in which nearer ones count more; Windrow trains networks with this filter.
            plain: a mixture of the four pixels around the new pixel's centre, as in tf.image.resize. corner: a mixture
            of the four pixels around the new pixel's upper left corner, as in TensorFlow 1. crop: Pillow's bicubic
            filter and the same factor for both sides, so that the image is CROPPED_FROM times as large as the result
            or, on one side, larger; the result is its centre.
    """
    if resize in ("smooth", "crop"):  # the other filters read single pixels, which a draft has averaged
        side = DRAFT * max(height, width)
        image.draft(None, (side, side))
    upright, mode = flat(image), "L" if channels == 1 else "RGB"
    if upright.mode != mode:  # avoids a copy: this and the one in `flat` took 0.3 of 2.8 ms per photograph
        upright = upright.convert(mode)
    if resize == "crop":
        upright = _centre(upright, height, width)
    elif resize == "smooth" and upright.size != (width, height):
        upright = upright.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(upright, np.uint8).reshape(upright.height, upright.width, channels)
    if upright.size != (width, height):
        pixels = _between_neighbours(pixels, height, width, centred=resize == "plain")
    return pixels


def _centre(image: Image.Image, height: int, width: int) -> Image.Image:
    """Resize an image to cover CROPPED_FROM times (width, height), and return the centre of that size.

    Only what the centre shows is computed: a strip of 80,000,000 x 1 pixels would be resized to billions.
    """
    wanted = int(width * CROPPED_FROM), int(height * CROPPED_FROM)
    factor = max(new / old for new, old in zip(wanted, image.size, strict=True))
    resized = [max(new, round(old * factor)) for new, old in zip(wanted, image.size, strict=True)]
    start = [round((whole - part) / 2) for whole, part in zip(resized, (width, height), strict=True)]
    ends = [begin + part for begin, part in zip(start, (width, height), strict=True)]
    steps = [old / new for old, new in zip(image.size, resized, strict=True)]
    box = (start[0] * steps[0], start[1] * steps[1], ends[0] * steps[0], ends[1] * steps[1])
    return image.resize((width, height), Image.Resampling.BICUBIC, box)


def flat(image: Image.Image) -> Image.Image:
    """Return an opened image upright, with 16-bit grey reduced to 8 bits and transparent parts laid over black.

    A BMP whose pixels all have the alpha 0 is opaque, as browsers show it: most programs that write 32 bits a pixel
    leave the fourth byte 0. What the first frame of a GIF does not cover is black, too. The image itself may be rotated
    in place.
    """
    upright: Any = image
    is_bmp = upright.format == "BMP"
    if "exif" in upright.info:  # asking Pillow for the orientation takes as long as decoding a small image
        ImageOps.exif_transpose(upright, in_place=True)  # otherwise even an upright image is copied
    if upright.mode.startswith("I;16"):
        return _eight_bits(upright)
    if is_bmp and upright.mode == "RGBA" and upright.getchannel("A").getextrema() == (0, 0):
        return upright.convert("RGB")  # type: ignore[no-any-return]
    if upright.format == "GIF" and "transparency" not in upright.info:
        upright = _covered(upright)
    if upright.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in upright.info:
        upright = upright.convert("LA") if upright.mode == "La" else upright
        upright = upright.convert("RGBA")
        ground = Image.new("RGBA", upright.size, (0, 0, 0, 255))
        upright = Image.alpha_composite(ground, upright)
    return upright  # type: ignore[no-any-return]


def _covered(gif: Any) -> Image.Image:
    """Return the first frame of a GIF with black around it, where Pillow puts the first colour of the palette."""
    frame = getattr(gif, "dispose_extent", None)  # left, top, right, bottom
    if frame in (None, (0, 0, *gif.size)):
        return gif  # type: ignore[no-any-return]
    canvas = Image.new("RGB", gif.size)
    canvas.paste(gif.crop(frame).convert("RGB"), frame[:2])
    return canvas


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a 16-bit grey image with 8 bits, black where it is transparent; convert() would clip instead of scale."""
    levels = np.asarray(image)
    grey = (levels >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    return Image.fromarray(grey if transparent is None else np.where(levels == transparent, 0, grey).astype(np.uint8))


def _between_neighbours(pixels: NDArray[np.uint8], height: int, width: int, centred: bool) -> NDArray[np.uint8]:
    """Resize pixels, uint8 (height, width, channels), as TensorFlow's bilinear filter does, and round them.

    `centred`: True for the filter `plain`, False for `corner`.
    """
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
    """Return three arrays with an item per new row (or column).

    The items are the two old rows around the new row, and the new row's distance from the first of them, 0 to 1.
    """
    half = 0.5 if centred else 0.0
    place = np.maximum((np.arange(wanted) + half) * (size / wanted) - half, 0)
    first = place.astype(np.intp)
    return first, np.minimum(first + 1, size - 1), (place - first).astype(np.float32)


def _mixed(first: NDArray[Any], second: NDArray[Any], share: NDArray[np.float32]) -> NDArray[np.float32]:
    start = first.astype(np.float32)
    return start + (second - start) * share
