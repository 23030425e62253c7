"""Decode untrusted image files to pixels for the network, or return the reason why they can't be decoded."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from windrow.data import image as images
from windrow.scoring.fetch.status import Status

if TYPE_CHECKING:
    from windrow.experiment.rules.network_file import Resize


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image, or the reason why decoding failed.

    Attributes:
        status: OK, or the reason.
        width: pixels by the file's header, before rotation and resizing; None if the header can't be read.
        height: likewise.
        pixels: uint8 of the network's shape (height, width, channels).
        jpeg: a file for a network that decodes by itself. If and only if the status is OK, this or `pixels` is set.
        error: the reason as a message for the user; None if the status is OK.
        milliseconds: the time that decoding took.
    """

    status: Status
    width: int | None = None
    height: int | None = None
    pixels: NDArray[np.uint8] | None = None
    jpeg: bytes | None = None
    error: str | None = None
    milliseconds: float | None = None


def decode(
    content: bytes, shape: tuple[int, int, int], max_pixels: int, resize: Resize | Literal["crop"] = "smooth"
) -> DecodedImage:
    """Return the first frame of an image file as uint8 pixels of `shape` (height, width, channels).

    Never raises, whatever `content` is. The size in the header is compared with `max_pixels` before any pixel is
    decoded.
    """

    def use(image: Image.Image) -> DecodedImage:
        return DecodedImage(Status.OK, pixels=images.to_pixels(image, *shape, resize))

    return _timed(content, max_pixels, use)


def as_jpeg(content: bytes, max_pixels: int) -> DecodedImage:
    """Return an image file as a JPEG, for a network that decodes by itself.

    An upright JPEG in grey or RGB is passed on unchanged; only its header is read, and the network finds out whether
    its pixels are complete. Anything else is decoded, turned upright, laid over black, and encoded as a JPEG of
    quality 95.
    """

    def use(image: Image.Image) -> DecodedImage:
        upright = image.getexif().get(ExifTags.Base.Orientation, 1) in (0, 1)
        if content.startswith(b"\xff\xd8\xff") and image.mode in ("L", "RGB") and upright:
            return DecodedImage(Status.OK, jpeg=content)
        stream = io.BytesIO()
        images.flat(image).convert("RGB").save(stream, "JPEG", quality=95, subsampling=0)
        return DecodedImage(Status.OK, jpeg=stream.getvalue())

    return _timed(content, max_pixels, use)


def _timed(content: bytes, max_pixels: int, use: Callable[[Image.Image], DecodedImage]) -> DecodedImage:
    started = time.perf_counter()
    with _guarded(max_pixels), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decoded = _decode(content, max_pixels, use)
    return replace(decoded, milliseconds=(time.perf_counter() - started) * 1000)


@contextmanager
def _guarded(max_pixels: int) -> Iterator[None]:
    """Set Pillow's own limit, which also applies to sizes that the header hides, such as that of a large GIF frame.

    The limit is global to the process, where other code opens images as well, so it is restored afterwards.
    """
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _decode(content: bytes, max_pixels: int, use: Callable[[Image.Image], DecodedImage]) -> DecodedImage:
    width = height = None
    try:
        with Image.open(io.BytesIO(content), formats=images.FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                reason = f"an image has at most {max_pixels:,} pixels; got {width:,} x {height:,}"
                return DecodedImage(Status.IMAGE_TOO_LARGE, width, height, error=reason)
            return replace(use(image), width=width, height=height)
    except UnidentifiedImageError:
        begins = f"it begins with {content[:8]!r}" if content else "it is empty"
        return DecodedImage(Status.NOT_AN_IMAGE, error=f"must be one of {', '.join(images.FORMATS)}; {begins}")
    except Image.DecompressionBombError as error:
        return DecodedImage(Status.IMAGE_TOO_LARGE, width, height, error=_short(error))
    except Exception as error:  # any error is the file's fault: Pillow raises a dozen types for broken bytes
        return DecodedImage(Status.BROKEN_IMAGE, width, height, error=_short(error))


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
