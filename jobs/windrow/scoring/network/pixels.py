"""Decode untrusted image files to pixels for the network, or return the reason why they can't be decoded."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from windrow.data import image as images
from windrow.data.image_files import jpeg_file
from windrow.data.image_files.faults import BrokenFileError, NotAnImageError, TooManyPixelsError
from windrow.data.image_files.opening import opened
from windrow.scoring.fetch.status import Status

if TYPE_CHECKING:
    from windrow.experiment.rules.network_file import Resize

_LONGEST = 300  # characters of an error


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


def looked_at(content: bytes, max_pixels: int) -> DecodedImage:
    """Read an image file's header alone; return its size, or the reason why it is no image that may be decoded."""
    return _timed(content, max_pixels, lambda _: DecodedImage(Status.OK))


def as_jpeg(content: bytes, max_pixels: int) -> DecodedImage:
    """Return an image file as a JPEG, for a network that decodes by itself.

    An upright JPEG in grey or RGB with an end mark is passed on unchanged; only its header is read, and the network
    finds out whether its pixels are complete. Anything else is decoded, turned upright, laid over black, and encoded as
    a JPEG of quality 95.
    """

    def use(image: Image.Image) -> DecodedImage:
        upright = image.getexif().get(ExifTags.Base.Orientation, 1) in (0, 1)
        if jpeg_file.is_ended(content) and image.mode in ("L", "RGB") and upright:
            return DecodedImage(Status.OK, jpeg=content)
        stream = io.BytesIO()
        images.flat(image).convert("RGB").save(stream, "JPEG", quality=95, subsampling=0)
        return DecodedImage(Status.OK, jpeg=stream.getvalue())

    return _timed(content, max_pixels, use)


def _timed(content: bytes, max_pixels: int, use: Callable[[Image.Image], DecodedImage]) -> DecodedImage:
    started = time.perf_counter()
    decoded, (width, height) = _decode(content, max_pixels, use)
    return replace(decoded, width=width, height=height, milliseconds=(time.perf_counter() - started) * 1000)


def _decode(
    content: bytes, max_pixels: int, use: Callable[[Image.Image], DecodedImage]
) -> tuple[DecodedImage, tuple[int, int] | tuple[None, None]]:
    """Return what was decoded, or the reason, and the (width, height) of the file's header if that can be read."""
    size: tuple[int, int] | tuple[None, None] = None, None
    try:
        with opened(content, max_pixels) as image:
            size = image.size
            return use(image), size
    except NotAnImageError as error:
        return DecodedImage(Status.NOT_AN_IMAGE, error=str(error)), size
    except TooManyPixelsError as error:
        return DecodedImage(Status.IMAGE_TOO_LARGE, error=str(error)), error.size or size
    except BrokenFileError as error:
        return DecodedImage(Status.BROKEN_IMAGE, error=str(error)[:_LONGEST]), size
    except Exception as error:  # any error is the file's fault: Pillow raises a dozen types for broken bytes
        return DecodedImage(Status.BROKEN_IMAGE, error=f"{type(error).__name__}: {error}"[:_LONGEST]), size
