"""BMPs: masks for alpha may follow the header or be in it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image
from windrow.data.image_files import bmp_file
from windrow.data.image_files.faults import BrokenFileError
from windrow.data.image_files.opening import opened

from tests.windrow.scoring.conftest import encoded

PIXEL = (200, 100, 50, 128)


def bmp(size: int, compression: int, bits: int, masks: tuple[int, ...], pixel: bytes) -> bytes:
    """A BMP of four pixels in two rows, with a header of `size` bytes and its masks after it or in it."""
    body = pixel * 4
    header = struct.pack("<IiiHHIIiiII", size, 2, 2, 1, bits, compression, len(body), 0, 0, 0, 0)
    header = (header + struct.pack(f"<{len(masks)}I", *masks)).ljust(size, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body


@pytest.mark.parametrize("size", [40, 56, 108, 124])
@pytest.mark.parametrize(
    ("masks", "pixel"),
    [
        ((0xFF0000, 0xFF00, 0xFF, 0xFF000000), bytes([50, 100, 200, 128])),
        ((0xFF, 0xFF00, 0xFF0000, 0xFF000000), bytes([200, 100, 50, 128])),
    ],
)
def test_a_bmp_that_names_its_masks_for_alpha_has_its_colours(size: int, masks: tuple[int, ...], pixel: bytes) -> None:
    with opened(bmp(size, 6, 32, masks, pixel), 100) as image:
        assert image.convert("RGBA").get_flattened_data() == (PIXEL,) * 4


def test_sixteen_bits_with_masks_for_alpha_have_their_colours() -> None:
    content = bmp(40, 6, 16, (0x7C00, 0x3E0, 0x1F, 0x8000), struct.pack("<H", 25 << 10 | 12 << 5 | 6))
    with opened(content, 100) as image:
        assert np.asarray(image.convert("RGB"))[0, 0].tolist() == pytest.approx(list(PIXEL[:3]), abs=6)


def test_masks_that_are_not_known_are_a_reason() -> None:
    with pytest.raises(BrokenFileError), opened(bmp(40, 6, 16, (0xF00, 0xF0, 0xF, 0xF000), b"\0\0"), 100):
        pass


@pytest.mark.parametrize("length", [0, 2, 26, 34, 69, None])
def test_any_other_bmp_is_returned_unchanged(length: int | None) -> None:
    content = encoded(Image.effect_noise((9, 6), 60).convert("RGB"), "BMP")[:length]
    assert bmp_file.reduced(content) == content
