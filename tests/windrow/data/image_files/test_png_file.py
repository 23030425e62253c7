"""PNGs: a chunk that libpng warns of and passes over costs no image."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from windrow.data.image import to_pixels
from windrow.data.image_files.faults import BrokenFileError, ImageFileError
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
    return plain[:place] + chunk(name, content, wrong) + plain[place:]


def chunk(name: bytes, content: bytes, wrong: int = 0) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content) ^ wrong)


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


def moved(content: bytes, name: bytes, before: bytes | None) -> bytes:
    """A PNG with one chunk moved before another, or left out."""
    start = content.index(name) - 4
    end = start + 12 + struct.unpack_from(">I", content, start)[0]
    rest = content[:start] + content[end:]
    place = rest.index(before) - 4 if before else len(rest)
    return rest[:place] + (content[start:end] if before else b"") + rest[place:]


@pytest.mark.parametrize("before", [None, b"IEND"])
def test_pixels_without_the_palette_that_they_need_are_broken(before: bytes | None) -> None:
    with pytest.raises(BrokenFileError, match="its pixels need a palette, and none is before them"):
        pixels(moved(encoded(IMAGES["P"]), b"PLTE", before))


@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_palette_without_whole_colours_is_broken(length: int) -> None:
    content = moved(encoded(IMAGES["P"]), b"PLTE", None)
    with pytest.raises(BrokenFileError, match=f"its palette must have whole colours; it has {length} byte"):
        pixels(content[:33] + chunk(b"PLTE", bytes(length)) + content[33:])


@pytest.mark.parametrize("before", [b"PLTE", b"IEND"])
def test_a_transparency_in_a_wrong_place_is_none(before: bytes) -> None:
    content = encoded(IMAGES["P"], transparency=bytes(9))
    plain = moved(content, b"tRNS", None)
    assert (pixels(content) != pixels(plain)).any()
    np.testing.assert_array_equal(pixels(moved(content, b"tRNS", before)), pixels(plain))


def test_of_two_transparencies_the_first_counts() -> None:
    content = encoded(IMAGES["P"], transparency=bytes(9))
    place = content.index(b"IDAT") - 4
    np.testing.assert_array_equal(
        pixels(content[:place] + chunk(b"tRNS", bytes(256)) + content[place:]), pixels(content)
    )
