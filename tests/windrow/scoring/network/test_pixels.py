"""Bytes to pixels: what is an image, what is too large, and what is broken."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from windrow.scoring.fetch.status import Status
from windrow.scoring.network.pixels import DecodedImage, as_jpeg, decode

from tests.windrow.scoring.conftest import encoded, grey, png_header

RGB = (8, 8, 3)
LIMIT = 1_000_000


def colour(*levels: int, mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new(mode, size, levels if len(levels) > 1 else levels[0])


def mean(decoded: DecodedImage) -> list[int]:
    assert decoded.status is Status.OK, decoded.error
    assert decoded.pixels is not None
    assert decoded.pixels.dtype == np.uint8
    return [round(value) for value in decoded.pixels.mean(axis=(0, 1)).tolist()]


def noise(size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(colour(200, 100, 50)), [200, 100, 50]),
        (encoded(colour(200, 100, 50), "BMP"), [200, 100, 50]),
        (encoded(colour(200, 100, 50), "WEBP", lossless=True), [200, 100, 50]),
        (encoded(colour(200, 100, 50, 128, mode="RGBA")), [100, 50, 25]),
        (encoded(colour(200, 0, mode="LA")), [0, 0, 0]),
        (encoded(colour(1, mode="1")), [255, 255, 255]),
        (encoded(colour(200, 100, 50).quantize(4)), [200, 100, 50]),
        (encoded(Image.fromarray(np.full((8, 8), 200 * 256, np.uint16))), [200, 200, 200]),
        (encoded(colour(200, 100, 50).quantize(4), "GIF"), [200, 100, 50]),
    ],
    ids=["png", "bmp", "webp", "alpha", "grey-alpha", "bilevel", "palette", "16-bit", "gif"],
)
def test_every_kind_becomes_the_networks_pixels(content: bytes, expected: list[int]) -> None:
    assert mean(decode(content, RGB, LIMIT)) == pytest.approx(expected, abs=1)


def test_cmyk_jpeg_becomes_rgb() -> None:
    assert mean(decode(encoded(colour(0, 255, 255, 0, mode="CMYK"), "JPEG"), RGB, LIMIT)) == pytest.approx(
        [255, 0, 0], abs=6
    )


def ycck(luma: int, blue: int, red: int, black: int) -> bytes:
    """A YCCK JPEG, which Pillow reads and does not write: four components as they are, and Adobe's mark says 2."""
    content = encoded(
        Image.merge("CMYK", [Image.new("L", (8, 8), 255 - level) for level in (luma, blue, red, black)]), "JPEG"
    )
    place = content.index(b"Adobe") + 11
    assert content[place] == 0
    return content[:place] + b"\x02" + content[place + 1 :]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (ycck(0, 128, 128, 255), [255, 255, 255]),
        (ycck(179, 171, 0, 255), [255, 0, 0]),
        (ycck(179, 171, 0, 128), [128, 0, 0]),
        (encoded(colour(0, 255, 255, 128, mode="CMYK"), "JPEG"), [127, 0, 0]),
    ],
    ids=["white", "red", "dark-red", "cmyk-dark-red"],
)
def test_adobes_inverted_colours_are_put_right(content: bytes, expected: list[int]) -> None:
    assert Image.open(io.BytesIO(content)).mode == "CMYK"
    assert mean(decode(content, RGB, LIMIT)) == pytest.approx(expected, abs=8)


def deep_png(kind: int, *samples: int) -> bytes:
    """A PNG of 8 x 8 with 16 bits a sample, which Pillow reads and, in colour, does not write."""
    row = b"\0" + struct.pack(f">{len(samples)}H", *samples) * 8
    header = struct.pack(">IIBBBBB", 8, 8, 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(row * 8)), (b"IEND", b"")]
    parts = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (deep_png(0, 0x80FF), [128, 128, 128]),
        (deep_png(2, 0xC8FF, 0x6400, 0x3210), [200, 100, 50]),
        (deep_png(4, 0xC8FF, 0x8000), [100, 100, 100]),
        (deep_png(6, 0xC8FF, 0x6400, 0x3210, 0x8000), [100, 50, 25]),
    ],
    ids=["grey", "rgb", "grey-alpha", "rgba"],
)
def test_sixteen_bits_a_sample_keep_their_upper_half(content: bytes, expected: list[int]) -> None:
    assert mean(decode(content, RGB, LIMIT)) == pytest.approx(expected, abs=1)


def test_a_palette_with_alphas_is_laid_over_black() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert mean(decode(encoded(image, transparency=bytes([255, 128])), RGB, LIMIT)) == pytest.approx(
        [100, 50, 25], abs=1
    )
    assert mean(decode(encoded(image, transparency=bytes([0, 255])), RGB, LIMIT)) == [200, 100, 50]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_animation_is_its_first_frame_or_broken_and_never_a_guess(kind: str, share: float) -> None:
    frames = [Image.fromarray(np.asarray(noise()) // 2 + level) for level in (0, 100)]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    whole = decode(content, (64, 64, 3), LIMIT)
    cut = decode(content[: int(len(content) * share)], (64, 64, 3), LIMIT)
    if cut.pixels is None:
        assert cut.status is Status.BROKEN_IMAGE
    else:
        assert share == 0.9
        np.testing.assert_array_equal(cut.pixels, whole.pixels)


@pytest.mark.parametrize("levels", [(0, 0), (0, 255), (255, 255)])
def test_one_bit_is_black_or_white(levels: tuple[int, int]) -> None:
    image = Image.new("1", (8, 8), levels[0])
    image.paste(levels[1], (4, 0, 8, 8))
    for kind in ("PNG", "BMP"):
        decoded = decode(encoded(image, kind), (8, 8, 1), LIMIT)
        assert decoded.pixels is not None
        assert np.unique(decoded.pixels).tolist() == sorted(set(levels))


def test_a_large_jpeg_is_measured_before_it_is_decoded_smaller() -> None:
    content = encoded(Image.new("RGB", (4_000, 3_000), (200, 100, 50)), "JPEG")
    decoded = decode(content, RGB, 12_000_000)
    assert (decoded.width, decoded.height) == (4_000, 3_000)
    assert mean(decoded) == pytest.approx([200, 100, 50], abs=3)
    assert decode(content, RGB, 11_999_999).status is Status.IMAGE_TOO_LARGE
    assert decode(content[: len(content) // 2], RGB, 12_000_000).status is Status.BROKEN_IMAGE


def test_a_jpeg_goes_to_a_network_that_decodes_by_itself_as_it_came() -> None:
    for mode in ("RGB", "L"):
        content = encoded(Image.new(mode, (20, 10)), "JPEG")
        decoded = as_jpeg(content, LIMIT)
        assert (decoded.status, decoded.jpeg, decoded.pixels) == (Status.OK, content, None)
        assert (decoded.width, decoded.height) == (20, 10)


@pytest.mark.parametrize(
    "content",
    [
        encoded(colour(200, 100, 50)),
        encoded(colour(200, 100, 50), "GIF"),
        encoded(colour(200, 100, 50, 255, mode="RGBA"), "WEBP", lossless=True),
        encoded(colour(55, 155, 205, 0, mode="CMYK"), "JPEG"),
    ],
    ids=["png", "gif", "webp", "cmyk"],
)
def test_any_other_image_is_made_a_jpeg_for_it(content: bytes) -> None:
    made = as_jpeg(content, LIMIT).jpeg
    assert made is not None
    with Image.open(io.BytesIO(made), formats=["JPEG"]) as image:
        assert (image.mode, image.size) == ("RGB", (8, 8))
    assert mean(decode(made, RGB, LIMIT)) == pytest.approx([200, 100, 50], abs=4)


def test_a_turned_jpeg_is_made_upright_for_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    made = as_jpeg(encoded(Image.new("RGB", (20, 10)), "JPEG", exif=exif), LIMIT).jpeg
    assert made is not None
    assert Image.open(io.BytesIO(made)).size == (10, 20)


def test_what_is_no_image_does_not_reach_a_network_that_decodes_by_itself() -> None:
    large, cut = encoded(Image.new("RGB", (300, 200)), "JPEG"), encoded(noise())
    statuses = [
        as_jpeg(content, 50_000).status for content in (b"<html>", b"\xff\xd8\xff", large, cut[: len(cut) // 2])
    ]
    assert statuses == [Status.NOT_AN_IMAGE, Status.NOT_AN_IMAGE, Status.IMAGE_TOO_LARGE, Status.BROKEN_IMAGE]


def test_a_grey_network_gets_one_channel() -> None:
    decoded = decode(encoded(colour(100, 100, 100)), (4, 6, 1), LIMIT)
    assert decoded.pixels is not None
    assert decoded.pixels.shape == (4, 6, 1)
    assert mean(decoded) == [100]


def test_exif_turns_the_image_and_the_size_stays_the_files() -> None:
    sides = Image.new("RGB", (20, 10))
    sides.paste((255, 0, 0), (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise brings the left side up
    decoded = decode(encoded(sides, "JPEG", exif=exif), RGB, LIMIT)
    assert (decoded.width, decoded.height) == (20, 10)
    assert decoded.pixels is not None
    assert decoded.pixels[0, :, 0].mean() > 200
    assert decoded.pixels[-1, :, 0].mean() < 50


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    frames = [colour(level, level, level) for level in (10, 200, 250)]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert mean(decode(content, RGB, LIMIT)) == pytest.approx([10, 10, 10], abs=1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"<html>no</html>",
        b"%PDF-1.7",
        b"\x00" * 1000,
        b"\x1f\x8b" + b"x" * 50,
        encoded(colour(1, 2, 3), "TIFF"),
    ],
    ids=["empty", "one", "html", "pdf", "zeros", "gzip", "tiff"],
)
def test_other_bytes_are_not_an_image(content: bytes) -> None:
    decoded = decode(content, RGB, LIMIT)
    assert (decoded.status, decoded.pixels) == (Status.NOT_AN_IMAGE, None)
    assert "PNG" in (decoded.error or "")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_a_truncated_image_is_broken_and_not_half_grey(kind: str) -> None:
    content = encoded(noise(), kind)
    decoded = decode(content[: len(content) * 2 // 3], RGB, LIMIT)
    assert (decoded.status, decoded.pixels) == (Status.BROKEN_IMAGE, None), decoded.error
    assert decoded.error


def test_a_header_alone_decides_that_an_image_is_too_large() -> None:
    tracemalloc.start()
    small = decode(png_header(1_200, 1_000), RGB, LIMIT)
    bomb = decode(png_header(60_000, 60_000), RGB, LIMIT)
    widest = decode(png_header(65_535, 65_535), RGB, LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert {decoded.status for decoded in (small, bomb, widest)} == {Status.IMAGE_TOO_LARGE}
    assert (small.width, small.height) == (1_200, 1_000)
    assert peak < 5_000_000


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "BMP", "WEBP"])
def test_every_kind_is_measured_by_its_header(kind: str) -> None:
    content = encoded(Image.new("RGB", (300, 200)), kind)
    assert decode(content, RGB, 59_999).status is Status.IMAGE_TOO_LARGE
    assert decode(content, RGB, 60_000).status is Status.OK


def test_a_gif_frame_larger_than_its_screen_is_no_way_around_the_limit() -> None:
    content = bytearray(encoded(Image.new("L", (4, 4)), "GIF"))
    place = content.index(b"\x2c") + 5  # the first frame's width and height
    content[place : place + 4] = struct.pack("<HH", 65_535, 65_535)
    assert decode(bytes(content), RGB, LIMIT).status is Status.IMAGE_TOO_LARGE


def test_a_png_whose_text_unpacks_to_100_megabytes_is_labelled_and_the_text_is_not_unpacked() -> None:
    text = b"k\0\0" + zlib.compress(b"x" * 100_000_000)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    plain = encoded(colour(1, 2, 3))
    content = plain[:33] + chunk + plain[33:]
    tracemalloc.start()
    decoded = decode(content, RGB, LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mean(decoded) == [1, 2, 3]
    assert peak < 5_000_000


def test_a_polyglot_is_the_image_that_it_begins_as() -> None:
    assert mean(decode(encoded(colour(9, 9, 9)) + b"<script>alert(1)</script>", RGB, LIMIT)) == [9, 9, 9]


SOUND = {kind: encoded(noise((24, 24)), kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP")}


@given(
    kind=st.sampled_from(sorted(SOUND)),
    # The beginning is where a file says how to read the rest of it.
    places=st.lists(st.tuples(st.one_of(st.integers(0, 120), st.integers(0)), st.integers(0, 255)), max_size=6),
    cut=st.none() | st.integers(0),
    jpeg=st.booleans(),
)
def test_damaged_bytes_become_pixels_or_a_reason(
    kind: str, places: list[tuple[int, int]], cut: int | None, jpeg: bool
) -> None:
    damaged = bytearray(SOUND[kind])
    for place, value in places:
        damaged[place % len(damaged)] = value
    content = bytes(damaged[: None if cut is None else cut % len(damaged)])
    decoded = as_jpeg(content, LIMIT) if jpeg else decode(content, RGB, LIMIT)
    made = decoded.jpeg if jpeg else decoded.pixels
    assert (made is not None) == (decoded.status is Status.OK) == (decoded.error is None)
    assert made is None or jpeg or (made.shape, made.dtype) == (RGB, np.uint8)  # type: ignore[union-attr]
    assert len(decoded.error or "") <= 300
    assert decoded.milliseconds is not None


@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused_in_words_or_are_an_image(content: bytes) -> None:
    decoded = decode(content, RGB, LIMIT)
    assert (decoded.pixels is None) == (decoded.status is not Status.OK) == (decoded.error is not None)


def test_decoding_leaves_no_warning_and_no_file_open(recwarn: pytest.WarningsRecorder) -> None:
    decode(png_header(1_100, 1_000), RGB, LIMIT)
    decode(grey(1), RGB, LIMIT)
    assert not recwarn.list
    assert Image.open(io.BytesIO(grey(1))).size == (8, 8)


def test_garbage_in_exif_does_not_cost_the_image() -> None:
    content = encoded(colour(100, 100, 100), "JPEG", exif=b"Exif\x00\x00" + b"garbage" * 20)
    assert mean(decode(content, RGB, LIMIT)) == pytest.approx([100, 100, 100], abs=2)


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_transparent_colour_is_black(mode: str) -> None:
    image = {
        "L": colour(200, mode="L"),
        "RGB": colour(200, 200, 200),
        "P": colour(200, 200, 200).quantize(2),
    }[mode]
    transparent = {"L": 200, "RGB": (200, 200, 200), "P": 0}[mode]
    assert mean(decode(encoded(image, transparency=transparent), RGB, LIMIT)) == [0, 0, 0]
