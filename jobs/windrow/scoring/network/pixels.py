"""Bytes from anywhere to the network's pixels, or the reason why not."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from windrow.data import image as images
from windrow.scoring.fetch.status import Status

if TYPE_CHECKING:
    from windrow.experiment.rules.network_file import Resize


@dataclass(frozen=True)
class Decoded:
    """An image, or why there is none.

    Width and height are those of the file's header, before it was turned and resized; None where it has none.
    If and only if status is ok, either `pixels` is set, uint8 of the network's shape (height, width, channels), or
    `jpeg`, a file for a network that decodes by itself.
    """

    status: Status
    width: int | None = None
    height: int | None = None
    pixels: NDArray[np.uint8] | None = None
    jpeg: bytes | None = None
    error: str | None = None
    milliseconds: float | None = None


def decode(content: bytes, shape: tuple[int, int, int], max_pixels: int, resize: Resize = "smooth") -> Decoded:
    """The first frame of an image file as uint8 pixels of `shape` (height, width, channels).

    Nothing in `content` raises. The header's size is compared with `max_pixels` before any pixel is decoded.
    """

    def use(image: Image.Image) -> Decoded:
        return Decoded(Status.OK, pixels=images.to_pixels(image, *shape, resize))

    return _timed(content, max_pixels, use)


def as_jpeg(content: bytes, max_pixels: int) -> Decoded:
    """The same for a network that decodes a JPEG's bytes by itself.

    An upright JPEG in grey or RGB goes to it as it is, by its header alone: whether its pixels are whole, the network
    says. Anything else is decoded, turned upright, laid over black, and encoded as a JPEG of quality 95.
    """

    def use(image: Image.Image) -> Decoded:
        upright = image.getexif().get(ExifTags.Base.Orientation, 1) in (0, 1)
        if content.startswith(b"\xff\xd8\xff") and image.mode in ("L", "RGB") and upright:
            return Decoded(Status.OK, jpeg=content)
        stream = io.BytesIO()
        images.flat(image).convert("RGB").save(stream, "JPEG", quality=95, subsampling=0)
        return Decoded(Status.OK, jpeg=stream.getvalue())

    return _timed(content, max_pixels, use)


def _timed(content: bytes, max_pixels: int, use: Callable[[Image.Image], Decoded]) -> Decoded:
    started = time.perf_counter()
    with _guarded(max_pixels), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decoded = _decode(content, max_pixels, use)
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


def _decode(content: bytes, max_pixels: int, use: Callable[[Image.Image], Decoded]) -> Decoded:
    width = height = None
    try:
        with Image.open(io.BytesIO(content), formats=images.FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                reason = f"an image has at most {max_pixels:,} pixels; got {width:,} x {height:,}"
                return Decoded(Status.IMAGE_TOO_LARGE, width, height, error=reason)
            return replace(use(image), width=width, height=height)
    except UnidentifiedImageError:
        begins = f"it begins with {content[:8]!r}" if content else "it is empty"
        return Decoded(Status.NOT_AN_IMAGE, error=f"must be one of {', '.join(images.FORMATS)}; {begins}")
    except Image.DecompressionBombError as error:
        return Decoded(Status.IMAGE_TOO_LARGE, width, height, error=_short(error))
    except Exception as error:  # the fault boundary of a URL: Pillow raises a dozen kinds for bytes like these
        return Decoded(Status.BROKEN_IMAGE, width, height, error=_short(error))


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
