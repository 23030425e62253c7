"""Open an image file, by its content and without its metadata.

    with opened(content, max_pixels) as image: ...

Pillow parses every tag and every text of a file, and refuses the image for one that is broken or large. So the file is
reduced first, to what the pixels need and the orientation; see png_file, jpeg_file, webp_file, gif_file and bmp_file.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from PIL import Image, UnidentifiedImageError

from windrow.data.image_files import bmp_file, gif_file, jpeg_file, png_file, webp_file, whole
from windrow.data.image_files import content as contents
from windrow.data.image_files.faults import BrokenFileError, NotAnImageError, TooManyPixelsError

_REDUCE = {"GIF": gif_file.reduced, "WEBP": webp_file.reduced, "BMP": bmp_file.reduced}
_PIXELS = re.compile(r"\((\d+) pixels\)")


@contextmanager
def opened(content: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image file, and yield the image before its pixels are decoded. Its EXIF data have the orientation alone.

    Decoding in the block may raise what Pillow raises, for a file that is damaged: almost anything.

    Args:
        content: the whole file.
        max_pixels: the most pixels that the image, or a frame of it, may have.

    Raises:
        NotAnImageError: the file is of another kind, or its size can't be read.
        BrokenFileError: the file begins as an image, and is damaged or of a variant that can't be decoded.
        TooManyPixelsError: the image has too many pixels; also from decoding in the block.
    """
    head = content[: contents.HEAD_BYTES]
    kind = contents.image_format(head)
    if kind is None:
        begins = f"it begins with {content[:8]!r}, {contents.kind(head)}" if content else "it is empty"
        raise NotAnImageError(f"must be a {contents.READ} file; {begins}")
    with _limited(max_pixels), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _image(content, kind, max_pixels) as image:
            Image.MAX_IMAGE_PIXELS = max(1, max_pixels // 2)  # Pillow warns at its limit and refuses at twice as much
            try:
                yield image
            except Image.DecompressionBombError as error:
                raise _too_many(max_pixels, error, image.size) from error


def _image(content: bytes, kind: str, max_pixels: int) -> Image.Image:
    if kind == "PNG":
        png = png_file.reduced(content)
        return _by_header(lambda: whole.WholePng(png), kind, max_pixels)
    if kind != "JPEG":
        reduced = _REDUCE[kind](content)
        return _by_header(lambda: Image.open(io.BytesIO(reduced), formats=[kind]), kind, max_pixels)
    jpeg = jpeg_file.reduced(content)
    image = _by_header(lambda: whole.WholeJpeg(jpeg), kind, max_pixels)
    if jpeg.ended:
        return image
    completed = replace(jpeg, head=jpeg_file.completed(jpeg, image.width * image.height), pixels=memoryview(b""))
    return _by_header(lambda: whole.WholeJpeg(completed), kind, max_pixels)


def _by_header(read: Callable[[], Image.Image], kind: str, max_pixels: int) -> Image.Image:
    try:
        image = read()
    except UnidentifiedImageError as error:
        raise NotAnImageError(f"it begins as a {kind}, and its header can't be read") from error
    except SyntaxError as error:  # Pillow's readers of a single format raise it, with the reason
        raise NotAnImageError(f"it begins as a {kind}, and its header can't be read: {error}") from error
    except Image.DecompressionBombError as error:
        raise _too_many(max_pixels, error) from error
    except Exception as error:  # Pillow raises almost anything
        raise BrokenFileError(f"{type(error).__name__}: {error}") from error
    if image.width * image.height > max_pixels:
        width, height = image.size
        raise TooManyPixelsError(f"an image has at most {max_pixels:,} pixels; got {width:,} x {height:,}", image.size)
    return image


def _too_many(max_pixels: int, error: Exception, size: tuple[int, int] | None = None) -> TooManyPixelsError:
    """Return the error for Pillow's, which names twice its limit; a frame may be larger than the image's size."""
    found = _PIXELS.search(str(error))
    got = f"{int(found[1]):,}" if found else "more"
    return TooManyPixelsError(f"an image has at most {max_pixels:,} pixels; got {got}", size)


@contextmanager
def _limited(max_pixels: int) -> Iterator[None]:
    """Set Pillow's own limit, which also applies to sizes that the header hides, such as that of a large GIF frame.

    The limit is global to the process, where other code opens images as well, so it is restored afterwards.
    """
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
