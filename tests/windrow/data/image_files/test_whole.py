"""A PNG or JPEG whose pixels end early is refused, also where the file ends as it should; any other costs nothing."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from windrow.data.image_files import jpeg_file, whole
from windrow.data.image_files.faults import BrokenFileError
from windrow.data.image_files.opening import opened

from tests.windrow.scoring.conftest import encoded

NOISE = Image.effect_noise((64, 48), 60).convert("RGB")
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
STARTS = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced image's passes: first column, first row, and the steps to the next ones."""


def pixels(content: bytes) -> Any:
    with opened(content, 20_000_000) as image:
        return np.asarray(image.convert("RGBA"))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(size: tuple[int, int], colour: int, rows: bytes, interlaced: int = 0) -> bytes:
    """A PNG of eight bits a sample, whose chunks and compressed data are well-formed whatever the rows are."""
    header = struct.pack(">IIBBBBB", *size, 8, colour, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(range(255, 252, -1)) * 256) if colour == 3 else b""
    parts = (chunk(b"IHDR", header), palette, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def rows_of(levels: NDArray[np.uint8], interlaced: int) -> list[bytes]:
    passes = STARTS if interlaced else ((0, 0, 1, 1),)
    parts = (levels[top::down, left::right] for left, top, right, down in passes)
    return [b"\0" + row.tobytes() for part in parts if part.size for row in part]


@given(
    size=st.tuples(st.integers(1, 20), st.integers(2, 20)),
    colour=st.sampled_from(sorted(CHANNELS)),
    interlaced=st.integers(0, 1),
    level=st.sampled_from([None, 0, 90, 165, 255]),
    missing=st.integers(1, 99),
)
def test_a_png_whose_data_end_before_its_last_row_is_broken(
    size: tuple[int, int], colour: int, interlaced: int, level: int | None, missing: int
) -> None:
    """Rows of one level look most like what is made up: zeros, and the bytes that the last row is filled with."""
    shape = (size[1], size[0], CHANNELS[colour])
    levels = np.random.default_rng(missing).integers(0, 256, shape, np.uint8)
    levels = levels if level is None else np.full(shape, level, np.uint8)
    rows = rows_of(levels, interlaced)
    assert pixels(png(size, colour, b"".join(rows), interlaced)).shape[:2] == shape[:2]
    cut = b"".join(rows[: -min(missing, len(rows))])
    with pytest.raises((BrokenFileError, OSError), match=r"end before its last row|truncated"):
        pixels(png(size, colour, cut, interlaced))


@pytest.mark.parametrize("filler", whole._FILLERS)
@pytest.mark.parametrize("width", [1, 2, 40])
def test_a_png_whose_last_row_is_what_it_is_filled_with_is_whole(filler: tuple[int, ...], width: int) -> None:
    last = bytes(filler[:3]) * width
    found = pixels(png((width, 2), 2, b"\0" + bytes(3 * width) + b"\0" + last))
    assert found[1, :, :3].tobytes() == last


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_every_depth_is_compared_in_its_own_form(depth: int) -> None:
    header = struct.pack(">IIBBBBB", 9, 3, depth, 0, 0, 0, 0)
    row = b"\0" + b"\xff" * ((9 * depth + 7) // 8)
    whole_one, cut = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        for rows in (3 * row, 2 * row)
    )
    assert pixels(whole_one).shape[:2] == (3, 9)
    with pytest.raises(BrokenFileError, match="its pixels end before its last row"):
        pixels(cut)


@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"subsampling": 0}, {"optimize": True}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_with_an_end_mark_before_its_last_pixel_is_broken(mode: str, options: dict[str, Any]) -> None:
    content = encoded(NOISE.convert(mode), "JPEG", **options)
    start = content.index(b"\xff\xda") + 20
    for kept in (0, 0.2, 0.5, 0.9):
        cut = content[: start + int(kept * (len(content) - start))]
        with pytest.raises(BrokenFileError, match="its pixels end before its last row"):
            pixels(cut.removesuffix(b"\xff") + jpeg_file.END)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_grey_jpeg_that_has_its_pixels_is_whole(mode: str, options: dict[str, Any]) -> None:
    for level in (126, 127, 128, 129):
        image = Image.new(mode, (40, 30), (level,) * len(mode) if mode != "L" else level)
        content = encoded(image, "JPEG", **options)
        np.testing.assert_array_equal(pixels(content), pixels(content + b"\xff\xd9 and more \xff\xd9"))
        np.testing.assert_array_equal(pixels(content[:-2]), pixels(content))


def test_a_jpeg_whose_last_pixel_is_not_grey_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg_file, "is_whole", None)
    assert pixels(encoded(Image.new("RGB", (40, 30), (128, 128, 140)), "JPEG")).any()


@pytest.mark.parametrize("level", [0, 6])
@pytest.mark.parametrize("place", range(1, 9))
def test_a_photograph_with_a_hole_within_its_pixels_is_broken(place: int, level: int) -> None:
    """As a download that lost a part leaves it: lengths and checksums of the chunks are right, and the end is there."""
    rows = np.asarray(NOISE).reshape(48, -1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), level)
    parts = [data[start : start + len(data) // 10] for start in range(0, len(data), len(data) // 10)]
    del parts[place]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0))
    chunks = [header, *(chunk(b"IDAT", part) for part in parts), chunk(b"IEND", b"")]
    with pytest.raises((BrokenFileError, OSError)):
        pixels(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
