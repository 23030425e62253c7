"""GIFs: the first frame with its own palette, and black where it does not cover the image."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from windrow.data.image import to_pixels
from windrow.data.image_files import gif_file
from windrow.data.image_files.opening import opened

Palette = Sequence[tuple[int, int, int]]
GREYS: Palette = [(level, level, level) for level in range(4)]
COLOURS: Palette = [(255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
INDICES = np.random.default_rng(0).integers(0, 4, (6, 9))


def table(palette: Palette | None) -> tuple[int, bytes]:
    return (0, b"") if palette is None else (0x81, b"".join(map(bytes, palette)))


def gif(
    size: tuple[int, int], place: tuple[int, int], shared: Palette | None, own: Palette | None, control: bytes = b""
) -> bytes:
    """A GIF of one frame with the pixels INDICES, which are not compressed: each is a code of three bits."""
    flag, colours = table(shared)
    own_flag, own_colours = table(own)
    bits = "".join(f"{int(index):03b}"[::-1] if index >= 0 else "001" for index in _codes())
    data = bytes(int(bits[start : start + 8].ljust(8, "0")[::-1], 2) for start in range(0, len(bits), 8))
    return b"".join(
        (
            *(b"GIF89a", struct.pack("<HHBBB", *size, flag, 3, 0), colours, control),
            *(b",", struct.pack("<HHHHB", *place, *INDICES.shape[::-1], own_flag), own_colours),
            *(b"\x02", bytes([len(data)]), data, b"\0;"),
        )
    )


def _codes() -> list[int]:
    """The codes of the pixels, with the one that clears the table (4) before each two, and the end (5)."""
    flat = INDICES.reshape(-1).tolist()
    return [code for place in range(0, len(flat), 2) for code in (4, *flat[place : place + 2])] + [5]


def pixels(content: bytes, shape: tuple[int, int]) -> NDArray[np.uint8]:
    with opened(content, 10_000) as image:
        assert (image.height, image.width) == shape
        return to_pixels(image, *shape, 3)


@pytest.mark.parametrize("shared", [None, GREYS, COLOURS])
@pytest.mark.parametrize("own", [None, GREYS, COLOURS])
def test_a_frame_has_the_colours_of_its_own_palette(shared: Palette | None, own: Palette | None) -> None:
    palette = np.array(own or shared or GREYS, np.uint8)  # without any, browsers show nothing, and Pillow greys
    for control in (b"", b"\x21\xf9\x04\0\0\0\0\0", b"\x21\xfe\x01c\0\x21\xff\x01x\0"):
        found = pixels(gif((9, 6), (0, 0), shared, own, control), (6, 9))
        np.testing.assert_array_equal(found, palette[INDICES])


@pytest.mark.parametrize("place", [(0, 0), (3, 2), (5, 4), (11, 9)])
@pytest.mark.parametrize("palettes", [(COLOURS, None), (GREYS, None), (None, COLOURS), (COLOURS, GREYS)])
@pytest.mark.parametrize("transparent", [None, 1])
def test_what_a_frame_does_not_cover_is_black_as_in_browsers(
    place: tuple[int, int], palettes: tuple[Palette | None, Palette | None], transparent: int | None
) -> None:
    """The last place is partly outside the image, which becomes larger."""
    height, width = max(10, place[1] + 6), max(14, place[0] + 9)
    control = b"" if transparent is None else b"\x21\xf9\x04\1\0\0" + bytes([transparent, 0])
    expected = np.zeros((height, width, 3), np.uint8)
    colours = np.array(palettes[1] or palettes[0], np.uint8)
    if transparent is not None:
        colours[transparent] = 0
    expected[place[1] : place[1] + 6, place[0] : place[0] + 9] = colours[INDICES]
    found = pixels(gif((14, 10), place, *palettes, control), (height, width))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("cut", [6, 10, 13, 20, 26, 30, 35, 36, 40])
def test_a_gif_that_is_cut_before_its_pixels_stays_as_it_is_or_ends_there(cut: int) -> None:
    content = gif((9, 6), (0, 0), COLOURS, COLOURS, b"\x21\xfe\x01c\0")[:cut]
    assert gif_file.reduced(content).startswith(content[:10])
