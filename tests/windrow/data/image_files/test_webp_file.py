"""WebPs: one without all its pixels stays as it is, for the decoder to refuse; other faults cost no image."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image
from windrow.data.image_files import webp_file
from windrow.data.image_files.faults import BrokenFileError, NotAnImageError
from windrow.data.image_files.opening import opened

from tests.windrow.scoring.conftest import encoded

WHOLE = encoded(Image.fromarray(np.zeros((6, 9, 3), np.uint8)), "WEBP", lossless=True, xmp=b"<x>")
PIXELS_END = WHOLE.index(b"XMP ")
NOISE = Image.effect_noise((40, 30), 60).convert("RGB")
SAVED = {
    "plain": encoded(NOISE, "WEBP"),
    "lossless": encoded(NOISE, "WEBP", lossless=True),
    "alpha": encoded(NOISE.convert("RGBA").rotate(9), "WEBP"),
    "texts": encoded(NOISE, "WEBP", exif=b"II*\0" + bytes(99), xmp=b"<x>", icc_profile=b"p" * 999),
    "animation": encoded(NOISE, "WEBP", save_all=True, append_images=[NOISE.rotate(180)]),
}


def pixels(content: bytes) -> Any:
    with opened(content, 10_000) as image:
        return np.asarray(image.convert("RGBA"))


@pytest.mark.parametrize("more", [1, 2, 100, 2**31])
@pytest.mark.parametrize("kind", SAVED)
def test_a_size_that_is_too_large_costs_no_image(kind: str, more: int) -> None:
    plain = SAVED[kind]
    content = plain[:4] + struct.pack("<I", struct.unpack_from("<I", plain, 4)[0] + more) + plain[8:]
    np.testing.assert_array_equal(pixels(content), pixels(plain))
    np.testing.assert_array_equal(pixels(content + b"\0"), pixels(plain))


@pytest.mark.parametrize("missing", [1, 2, 3, 9, 100])
def test_metadata_that_are_cut_off_cost_no_image(missing: int) -> None:
    np.testing.assert_array_equal(pixels(SAVED["texts"][:-missing]), pixels(SAVED["texts"]))


@pytest.mark.parametrize("kind", ["plain", "lossless", "alpha", "animation"])
def test_a_webp_without_some_of_its_pixels_is_broken(kind: str) -> None:
    for missing in (3, 10, 40):
        cut = SAVED[kind][:-missing]
        assert webp_file.reduced(cut) == cut
        with pytest.raises((OSError, BrokenFileError, NotAnImageError)):
            pixels(cut)


@pytest.mark.parametrize("length", [*range(12, 40), PIXELS_END - 1])
def test_a_webp_whose_pixels_are_cut_is_returned_unchanged(length: int) -> None:
    assert webp_file.reduced(WHOLE[:length]) == WHOLE[:length]


@pytest.mark.parametrize(
    "content",
    [
        b"RIFF\xb0\x01\0\0WEBPVP8X\nFIFF\xb0\x01\x002",  # found by make fuzz
        WHOLE[:16] + struct.pack("<I", 0) + WHOLE[20:],
        WHOLE[:4] + struct.pack("<I", 10) + WHOLE[8:],
    ],
    ids=["cut", "empty-header", "short-file"],
)
def test_a_webp_with_a_wrong_length_is_returned_unchanged(content: bytes) -> None:
    assert webp_file.reduced(content) == content
    assert webp_file.reduced(WHOLE) != WHOLE
