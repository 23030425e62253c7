"""Bytes from anywhere to the network's pixels, or the reason why not."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from windrow.data import image as images
from windrow.scoring.status import Status


@dataclass(frozen=True)
class Decoded:
    """An image, or why there is none.

    Width and height are those of the file's header, before it was turned and resized; None where it has none.
    `pixels` is uint8 of the network's shape (height, width, channels), set if and only if status is ok.
    """

    status: Status
    width: int | None = None
    height: int | None = None
    pixels: NDArray[np.uint8] | None = None
    error: str | None = None
    milliseconds: float | None = None


def decode(content: bytes, shape: tuple[int, int, int], max_pixels: int) -> Decoded:
    """The first frame of an image file as uint8 pixels of `shape` (height, width, channels).

    Nothing in `content` raises. The header's size is compared with `max_pixels` before any pixel is decoded.
    """
    started = time.perf_counter()
    with _guarded(max_pixels), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decoded = _decode(content, shape, max_pixels)
    return replace(decoded, milliseconds=(time.perf_counter() - started) * 1000)


@contextmanager
def _guarded(max_pixels: int) -> Iterator[None]:
    """Pillow's own guard, for what the header does not say, such as a GIF frame larger than its screen.

    It is one for the process, where others open pictures of their own: it is put back.
    """
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _decode(content: bytes, shape: tuple[int, int, int], max_pixels: int) -> Decoded:
    width = height = None
    try:
        with Image.open(io.BytesIO(content), formats=images.FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                reason = f"an image has at most {max_pixels:,} pixels; got {width:,} x {height:,}"
                return Decoded(Status.IMAGE_TOO_LARGE, width, height, error=reason)
            image.load()
            pixels = images.to_pixels(image, *shape)
    except UnidentifiedImageError:
        begins = f"it begins with {content[:8]!r}" if content else "it is empty"
        return Decoded(Status.NOT_AN_IMAGE, error=f"must be one of {', '.join(images.FORMATS)}; {begins}")
    except Image.DecompressionBombError as error:
        return Decoded(Status.IMAGE_TOO_LARGE, width, height, error=_short(error))
    except Exception as error:  # the fault boundary of a URL: Pillow raises a dozen kinds for bytes like these
        return Decoded(Status.BROKEN_IMAGE, width, height, error=_short(error))
    return Decoded(Status.OK, width, height, pixels)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
