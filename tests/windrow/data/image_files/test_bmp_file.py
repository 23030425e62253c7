"""BMPs: any masks, in the header or after it, and palettes of any length."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from windrow.data.image_files import bmp_file
from windrow.data.image_files.faults import BrokenFileError, TooManyPixelsError
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


MASKS = st.permutations(range(4)).flatmap(
    lambda order: st.tuples(st.just(order), st.lists(st.integers(1, 8), min_size=4, max_size=4), st.integers(0, 4))
)


@given(masks=MASKS, bits=st.sampled_from([16, 32]), size=st.sampled_from([40, 56, 108, 124]), top_down=st.booleans())
def test_masks_of_any_lengths_and_order_are_read(
    masks: tuple[list[int], list[int], int], bits: int, size: int, top_down: bool
) -> None:
    order, lengths, start = masks
    lengths = [min(length, bits // 4 - 1) for length in lengths]
    found, place = [0, 0, 0, 0], start if bits == 32 else 0
    for channel in order:
        found[channel] = ((1 << lengths[channel]) - 1) << place
        place += lengths[channel]
    if size == 40:  # has three masks, without alpha
        found[3] = 0
    values = np.random.default_rng(place).integers(0, 1 << bits, (2, 2)).astype(f"<u{bits // 8}")
    content = bytearray(bmp(size, 3, bits, tuple(found[: 3 if size == 40 else 4]), b""))
    struct.pack_into("<i", content, 22, -2 if top_down else 2)
    with opened(bytes(content) + (values if top_down else values[::-1]).tobytes(), 100) as image:
        pixels = np.asarray(image.convert("RGBA"))
    for channel, mask in enumerate(found):
        if mask:
            levels = (values & mask) / mask * 255
            np.testing.assert_allclose(pixels[..., channel], levels, atol=6 if bits == 16 else 1)


@pytest.mark.parametrize(
    ("masks", "width"), [((0xF0F, 0xF0, 0xF000), 2), ((0xF00, 0xF0, 0xF), 0), ((0xF00, 0xF0, 0xF), -2),
                         ((0xF00, 0xF0, 0xF), 2**30)]
)  # fmt: skip
def test_masks_with_gaps_and_sizes_that_can_not_be_are_a_reason(masks: tuple[int, ...], width: int) -> None:
    content = bytearray(bmp(40, 3, 16, masks, b"\1\2"))
    struct.pack_into("<i", content, 18, width)
    with pytest.raises((BrokenFileError, TooManyPixelsError)), opened(bytes(content), 100):
        pass


@pytest.mark.parametrize("mask", [0x10000, 0xFFFFFFFF, 0x80008000])
def test_bits_of_a_mask_beyond_the_pixels_do_not_count(mask: int) -> None:
    with opened(bmp(40, 3, 16, (0xF00, 0xF0, mask), b"\0\x0f"), 100) as image:
        assert np.asarray(image.convert("RGB"))[0, 0, :2].tolist() == [255, 0]


def test_masks_of_a_large_image_are_read_in_the_memory_of_its_pixels() -> None:
    values = np.arange(1200 * 900, dtype="<u2").reshape(900, 1200)
    head = bytearray(bmp(40, 3, 16, (0xF00, 0xF0, 0xF), b""))
    struct.pack_into("<ii", head, 18, 1200, -900)
    content = bytes(head) + values.tobytes()
    tracemalloc.start()
    reduced = bmp_file.reduced(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * 4 * values.size, "the pixels, the file, and a part of them in the work"
    with opened(reduced, values.size) as image:
        np.testing.assert_array_equal(np.asarray(image)[..., 2], (values & 0xF) * 17)


def test_pixels_of_a_short_header_are_no_masks() -> None:
    """The header of OS/2 has 12 bytes, so that pixels are where others say the compression."""
    levels = np.arange(18, dtype=np.uint8).reshape(1, 6, 3)
    levels[0, 1] = (0, 0, 6)
    levels[0, 2] = (9, 0, 0)
    rows = levels[..., ::-1].tobytes().ljust(20, b"\0")
    rows = rows[:4] + struct.pack("<I", 6) + rows[8:]
    content = b"BM" + struct.pack("<IHHIIHHHH", 46 + 40, 0, 0, 26, 12, 6, 1, 1, 24) + rows + bytes(40)
    with opened(content, 100) as image:
        assert np.asarray(image)[..., ::-1].tobytes() == rows[:18]


@given(bits=st.sampled_from([1, 4, 8]), data=st.data(), odd=st.booleans())
def test_a_palette_of_any_length_gives_its_colours(bits: int, data: st.DataObject, odd: bool) -> None:
    """Two colours are most often black and white, and a scale of greys is what Pillow reads in another way."""
    most = 1 << bits
    used = data.draw(st.integers(1, most))
    scale = [(level, level, level) for level in range(used)]
    edges = [(0, 0, 0), (255, 255, 255)][:used]
    palette = data.draw(st.sampled_from([scale, edges, edges[::-1], [(9, 8, 7)] * used]))
    indices = np.random.default_rng(used).integers(0, len(palette), (3, 8))
    rows = b"".join(_packed(row, bits) for row in indices[::-1])
    header = struct.pack("<IiiHHIIiiII", 40, 8, 3, 1, bits, 0, len(rows), 0, 0, len(palette), 0)
    colours = b"".join(bytes(colour[::-1]) + b"\0" for colour in palette) + b"\0" * odd
    start = 54 + len(colours)
    with opened(b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + colours + rows, 100) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.array(palette)[indices])


def _packed(row: Any, bits: int) -> bytes:
    text = "".join(f"{int(index):0{bits}b}" for index in row)
    return int(text, 2).to_bytes(bits, "big").ljust(-(-bits // 4) * 4, b"\0")


@pytest.mark.parametrize("length", [0, 2, 26, 34, 69, None])
def test_any_other_bmp_is_returned_unchanged(length: int | None) -> None:
    content = encoded(Image.effect_noise((9, 6), 60).convert("RGB"), "BMP")[:length]
    assert bmp_file.reduced(content) == content
