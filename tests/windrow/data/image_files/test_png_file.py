"""PNGs: a chunk that libpng warns of and passes over costs no image."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from windrow.data.image import to_pixels
from windrow.data.image_files.faults import ImageFileError
from windrow.data.image_files.opening import opened

from tests.windrow.scoring.conftest import encoded

LEVELS = np.random.default_rng(0).integers(0, 256, (6, 9, 4), np.uint8)
IMAGES = {mode: Image.fromarray(LEVELS).convert(mode) for mode in ("L", "RGB", "P", "LA", "RGBA")}


def pixels(content: bytes) -> NDArray[np.uint8]:
    with opened(content, 1_000) as image:
        return to_pixels(image, 6, 9, 3)


def png_with(mode: str, name: bytes, content: bytes, wrong: int = 0, before: bytes = b"IDAT") -> bytes:
    """A PNG with a chunk right before its pixels, or before another chunk, whose checksum is off by `wrong`."""
    plain = encoded(IMAGES[mode])
    place = plain.index(before) - 4
    checksum = zlib.crc32(name + content) ^ wrong
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
    return plain[:place] + chunk + plain[place:]


@pytest.mark.parametrize("mode", IMAGES)
@pytest.mark.parametrize(("levels", "wrong"), [(b"\0\1\0\1\0\1", 1), (b"", 0), (b"", 1), (b"\0", 1), (bytes(256), 1)])
def test_a_transparency_that_is_damaged_or_empty_is_none(mode: str, levels: bytes, wrong: int) -> None:
    np.testing.assert_array_equal(pixels(png_with(mode, b"tRNS", levels, wrong)), pixels(encoded(IMAGES[mode])))


@pytest.mark.parametrize(("mode", "length"), [("L", 1), ("RGB", 1), ("RGB", 2), ("RGB", 5), ("LA", 2), ("RGBA", 6)])
def test_a_transparency_that_does_not_fit_its_pixels_is_none(mode: str, length: int) -> None:
    np.testing.assert_array_equal(pixels(png_with(mode, b"tRNS", bytes(length))), pixels(encoded(IMAGES[mode])))


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA"])
@pytest.mark.parametrize(("palette", "wrong"), [(b"abc", 1), (b"ab", 0), (b"", 0), (bytes(1000), 1)])
def test_a_palette_that_the_pixels_do_not_need_is_passed_over(mode: str, palette: bytes, wrong: int) -> None:
    np.testing.assert_array_equal(pixels(png_with(mode, b"PLTE", palette, wrong)), pixels(encoded(IMAGES[mode])))


def test_a_chunk_with_a_digit_in_its_name_is_passed_over() -> None:
    np.testing.assert_array_equal(pixels(png_with("RGB", b"ab1d", b"x")), pixels(encoded(IMAGES["RGB"])))


@pytest.mark.parametrize("depth", [0, 3, 7, 255])
def test_a_depth_that_no_png_has_is_a_reason(depth: int) -> None:
    content = png_with("L", b"tRNS", b"\0\1")
    header = content[12:24] + bytes([depth]) + content[25:29]
    with pytest.raises(ImageFileError, match="its header can't be read"):
        pixels(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])


@pytest.mark.parametrize("is_loaded", [True, False])
@pytest.mark.parametrize("mode", IMAGES)
def test_a_transparency_after_the_pixels_is_none(mode: str, is_loaded: bool) -> None:
    plain, levels = pixels(encoded(IMAGES[mode])), np.asarray(IMAGES[mode])[0, 0]
    here = (
        b"".join(struct.pack(">H", level) for level in np.atleast_1d(levels)) if mode in ("L", "RGB") else b"\0" * 256
    )
    with opened(png_with(mode, b"tRNS", here, before=b"IEND"), 1_000) as image:
        if is_loaded:
            image.load()
        np.testing.assert_array_equal(to_pixels(image, 6, 9, 3), plain)


def test_a_second_header_is_a_reason() -> None:
    with pytest.raises(ImageFileError, match="it has two headers"):
        pixels(png_with("L", b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)))
