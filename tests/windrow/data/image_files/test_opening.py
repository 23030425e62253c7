"""An image is opened for its pixels and its orientation: metadata of any kind, size and order cost nothing."""

from __future__ import annotations

import io
import itertools
import random
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from windrow.data.image import to_pixels
from windrow.data.image_files import orientation
from windrow.data.image_files.faults import BrokenFileError, NotAnImageError, TooManyPixelsError
from windrow.data.image_files.opening import opened

from tests.windrow.scoring.conftest import encoded

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8))
PHOTO = Image.effect_noise((64, 48), 60).convert("RGB")


def pixels(content: bytes) -> Any:
    """The image's pixels, upright, as the network gets them without a change of the size."""
    with opened(content, 1_000_000) as image:
        turned = image.getexif().get(0x0112, 1) >= 5
        width, height = image.size[::-1] if turned else image.size
        return to_pixels(image, height, width, 3)


def tiff(order: str, entries: list[tuple[int, int, int, int]], offset: int = 8) -> bytes:
    """EXIF data with (tag, type, count, value) each; a value of type SHORT is in the first bytes of its field."""
    body = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count)
        + (struct.pack(f"{order}HH", value & 0xFFFF, 0) if kind == 3 else struct.pack(f"{order}I", value))
        for tag, kind, count, value in entries
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", offset)
    return head.ljust(offset, b"\0") + struct.pack(f"{order}H", len(entries)) + body + b"\0\0\0\0"


def segment(kind: int, content: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(content) + 2) + content


def chunk(name: bytes, content: bytes, checksum: int | None = None) -> bytes:
    right = zlib.crc32(name + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", right)


def jpeg_with(*segments: bytes, image: Image.Image = PHOTO, **options: Any) -> bytes:
    plain = encoded(image, "JPEG", **options)
    return plain[:2] + b"".join(segments) + plain[2:]


def png_with(before: bytes = b"", after: bytes = b"", image: Image.Image = PICTURE) -> bytes:
    """A PNG with chunks after its header, and with chunks after its pixels."""
    plain = encoded(image)
    return plain[:33] + before + plain[33:-12] + after + plain[-12:]


def webp_with(exif: bytes) -> bytes:
    return encoded(PICTURE, "WEBP", lossless=True, exif=exif, icc_profile=b"p" * 1001, xmp=b"<x>")


ENTRIES = st.lists(
    st.tuples(st.sampled_from([0x0100, 0x011A, 0x8769, 0x8825, 0x9286]), st.integers(0, 20), st.integers(0, 2**32 - 1),
              st.integers(0, 2**32 - 1)),
    max_size=6,
)  # fmt: skip
TURNS = st.integers(1, 8)


@given(order=st.sampled_from("<>"), before=ENTRIES, turn=TURNS, after=ENTRIES, offset=st.integers(8, 40))
def test_the_orientation_is_found_among_any_other_entries(
    order: str, before: list[Any], turn: int, after: list[Any], offset: int
) -> None:
    exif = tiff(order, [*before, (0x0112, 3, 1, turn), *after], offset)
    assert orientation.read(exif) == orientation.read(b"Exif\0\0" + exif) == turn
    expected = np.asarray(ImageOps.exif_transpose(opened_with(turn)))
    for content in (
        png_with(chunk(b"eXIf", exif)),
        png_with(after=chunk(b"eXIf", exif)),
        png_with(chunk(b"eXIf", exif, checksum=7)),
        webp_with(exif),
    ):
        np.testing.assert_array_equal(pixels(content), expected)
    found = pixels(jpeg_with(segment(0xE1, b"Exif\0\0" + exif)))
    np.testing.assert_array_equal(found, np.asarray(ImageOps.exif_transpose(jpeg_of(turn))))


def opened_with(turn: int) -> Image.Image:
    image = PICTURE.copy()
    image.getexif()[0x0112] = turn
    return image


def jpeg_of(turn: int) -> Image.Image:
    return Image.open(io.BytesIO(encoded(PHOTO, "JPEG", exif=b"Exif\0\0" + orientation.write(turn))))


@pytest.mark.parametrize("kind", [k for k in range(14) if k != 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_orientation_of_another_type_is_upright(kind: int, order: str) -> None:
    assert orientation.read(tiff(order, [(0x0112, kind, 1, 6)])) is None


@pytest.mark.parametrize("value", [0, 9, 255, 65_535])
def test_an_orientation_out_of_range_is_upright(value: int) -> None:
    assert orientation.read(tiff(">", [(0x0112, 3, 1, value)])) is None
    assert orientation.read(tiff(">", [(0x0112, 3, 2, 6)])) is None


@given(st.binary(max_size=80))
def test_any_bytes_as_exif_cost_no_image(exif: bytes) -> None:
    assert orientation.read(exif) in (None, *range(1, 9))
    turned = orientation.read(exif)
    upright = turned in (None, 1)
    for content in (png_with(chunk(b"eXIf", exif)), webp_with(exif)):
        if upright:
            np.testing.assert_array_equal(pixels(content), np.asarray(PICTURE))


@given(first=st.sampled_from([None, *range(1, 9)]), second=TURNS)
def test_of_several_exif_data_the_first_count(first: int | None, second: int) -> None:
    """So that the many parts of a large file are not all looked through; browsers do the same."""
    parts = [tiff("<", [(0x010F, 3, 1, 1)] if turn is None else [(0x0112, 3, 1, turn)]) for turn in (first, second)]
    chunks = b"".join(chunk(b"eXIf", exif) for exif in parts)
    expected = np.asarray(ImageOps.exif_transpose(opened_with(first or 1)))
    np.testing.assert_array_equal(pixels(png_with(chunks)), expected)
    found = pixels(jpeg_with(*(segment(0xE1, b"Exif\0\0" + exif) for exif in parts)))
    np.testing.assert_array_equal(found, np.asarray(ImageOps.exif_transpose(jpeg_of(first or 1))))


@given(turn=TURNS, padding=st.integers(0, 255))
def test_the_byte_after_the_name_of_exif_may_be_any(turn: int, padding: int) -> None:
    exif = segment(0xE1, b"Exif\0" + bytes([padding]) + tiff("<", [(0x0112, 3, 1, turn)]))
    np.testing.assert_array_equal(pixels(jpeg_with(exif)), np.asarray(ImageOps.exif_transpose(jpeg_of(turn))))


@given(turn=TURNS)
def test_what_is_written_is_what_is_read(turn: int) -> None:
    assert orientation.read(orientation.write(turn)) == turn


SIDE_SEGMENTS = st.lists(
    st.builds(segment, st.sampled_from([*range(0xE1, 0xEE), 0xEF, 0xFE]), st.binary(max_size=40)), max_size=12
)


@given(segments=SIDE_SEGMENTS, turn=TURNS)
def test_segments_of_any_kind_number_and_order_cost_no_jpeg(segments: list[bytes], turn: int) -> None:
    exif = segment(0xE1, b"Exif\0\0" + tiff("<", [(0x011A, 5, 1, 2**31), (0x0112, 3, 1, turn)]))
    places = random.Random(len(segments)).randint(0, len(segments))
    content = jpeg_with(*segments[:places], exif, *segments[places:])
    np.testing.assert_array_equal(pixels(content), np.asarray(ImageOps.exif_transpose(jpeg_of(turn))))


@given(
    name=st.sampled_from([b"JFIF\0", b"JFXX\0", b"Adobe", b"Exif\0\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0", b"MPF\0",
                          b"FPXR\0", b"http://ns.adobe.com/xap/1.0/\0", b"Ducky", b"AROT\0", b"AVI1"]),
    rest=st.binary(max_size=9),
    kind=st.integers(0xE0, 0xEF),
    cut=st.integers(0, 40),
)  # fmt: skip
def test_a_segment_of_an_application_that_is_too_short_costs_no_jpeg(
    name: bytes, rest: bytes, kind: int, cut: int
) -> None:
    """As scanners and editors write them; decoders take a JFIF of 14 bytes and an Adobe of 12 for whole."""
    content = (name + rest)[:cut][: 13 if name == b"JFIF\0" else 11 if name == b"Adobe" else None]
    expected = pixels(encoded(PHOTO, "JPEG"))
    np.testing.assert_array_equal(pixels(jpeg_with(segment(kind, content))), expected)


SIDE_CHUNKS = st.lists(
    st.builds(
        chunk,
        st.sampled_from([b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"tIME", b"gAMA", b"cHRM", b"sRGB", b"bKGD",
                         b"acTL", b"fcTL", b"fdAT", b"sPLT", b"hIST", b"cICP", b"prVt"]),
        st.binary(max_size=40),
        st.none() | st.integers(0, 2**32 - 1),
    ),
    max_size=12,
)  # fmt: skip


@given(before=SIDE_CHUNKS, after=SIDE_CHUNKS)
def test_chunks_of_any_kind_number_and_order_cost_no_png(before: list[bytes], after: list[bytes]) -> None:
    content = png_with(b"".join(before), b"".join(after))
    np.testing.assert_array_equal(pixels(content), np.asarray(PICTURE))


@given(before=SIDE_CHUNKS, cuts=st.lists(st.integers(0, 200), max_size=5))
def test_pixels_in_any_number_of_chunks_are_whole(before: list[bytes], cuts: list[int]) -> None:
    plain = encoded(PICTURE)
    (length,) = struct.unpack_from(">I", plain, 33)
    data = plain[41 : 41 + length]
    ends = [0, *sorted(cut % length for cut in cuts), length]
    parts = [chunk(b"IDAT", data[start:end]) for start, end in itertools.pairwise(ends)]
    content = plain[:33] + b"".join(before).join([b"", *parts]) + plain[-12:]
    np.testing.assert_array_equal(pixels(content), np.asarray(PICTURE))


LARGE = {
    "png-profile": lambda: png_with(chunk(b"iCCP", b"p\0\0" + zlib.compress(random.Random(0).randbytes(1_200_000)))),
    "png-profile-bomb": lambda: png_with(chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(100_000_000)))),
    "png-text-bomb": lambda: png_with(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(100_000_000)))),
    "png-international-bomb": lambda: png_with(chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(100_000_000)))),
    "png-plain-text": lambda: png_with(chunk(b"tEXt", b"k\0" + b"x" * 5_000_000)),
    "png-many-texts": lambda: png_with(chunk(b"tEXt", b"k\0" + b"x" * 900_000) * 80),
    "png-exif": lambda: png_with(chunk(b"eXIf", tiff(">", []) + bytes(5_000_000))),
    "jpeg-profile": lambda: jpeg_with(*[segment(0xE2, b"ICC_PROFILE\0" + bytes([n % 255, 255]) + bytes(65_000))
                                        for n in range(310)]),
    "jpeg-comments": lambda: jpeg_with(segment(0xFE, b"c") * 20_000),
    "jpeg-exif": lambda: jpeg_with(*[segment(0xE1, b"Exif\0\0" + bytes(65_000))] * 20),
    "gif-comment": lambda: gif_with((b"\xff" + b"c" * 255) * 20_000),
    "webp-profile": lambda: encoded(PICTURE, "WEBP", lossless=True, icc_profile=bytes(20_000_000)),
}  # fmt: skip


def gif_with(blocks: bytes) -> bytes:
    plain = encoded(PICTURE, "GIF")
    place = 13 + 3 * (2 << (plain[10] & 7))
    return plain[:place] + b"\x21\xfe" + blocks + b"\0" + plain[place:]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", LARGE)
def test_large_profiles_and_texts_are_skipped_in_little_memory(kind: str) -> None:
    content = LARGE[kind]()
    plain = pixels({"p": encoded(PICTURE), "j": encoded(PHOTO, "JPEG"), "g": encoded(PICTURE, "GIF"),
                    "w": encoded(PICTURE, "WEBP", lossless=True)}[kind[0]])  # fmt: skip
    tracemalloc.start()
    found = pixels(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, plain)
    assert peak < 2_000_000


def test_too_many_chunks_and_segments_are_a_reason() -> None:
    with (
        pytest.raises(BrokenFileError, match="more than 100,000 chunks"),
        opened(png_with(chunk(b"tEXt", b"") * 100_001), 9_999),
    ):
        pass
    with (
        pytest.raises(BrokenFileError, match="more than 100,000 segments"),
        opened(jpeg_with(segment(0xFE, b"") * 100_001), 9_999),
    ):
        pass


@pytest.mark.parametrize(("name", "at"), [("IHDR", 29), ("PLTE", None)])
def test_a_wrong_checksum_of_what_the_pixels_need_is_named(name: str, at: int | None) -> None:
    content = bytearray(encoded(PICTURE.quantize(8), transparency=bytes([9, 255, 7])))
    place = content.index(name.encode()) - 4
    end = place + 8 + struct.unpack_from(">I", content, place)[0]
    assert at in (None, end)
    content[end] ^= 1
    with pytest.raises(BrokenFileError, match=f"the checksum of its {name} is wrong, so the file is damaged"):
        pixels(bytes(content))


def test_the_pixels_own_checksum_decides_and_not_that_of_their_chunk() -> None:
    content = bytearray(encoded(PICTURE))
    end = 41 + struct.unpack_from(">I", content, 33)[0]
    wrong = bytes(content[:end]) + b"\1\2\3\4" + bytes(content[end + 4 :])
    np.testing.assert_array_equal(pixels(wrong), np.asarray(PICTURE))
    content[end - 1] ^= 1  # the last byte of zlib's checksum
    content[end : end + 4] = struct.pack(">I", zlib.crc32(content[37:end]))
    with pytest.raises(OSError, match=r"broken data stream|truncated"):
        pixels(bytes(content))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_without_its_end_mark_is_whole_and_one_without_more_is_not(mode: str, progressive: bool) -> None:
    whole = encoded(PHOTO.convert(mode), "JPEG", progressive=progressive)
    expected = pixels(whole)
    for missing, padding in itertools.product((1, 2), (b"", bytes(512), b"\xff" * 512)):
        np.testing.assert_array_equal(pixels(whole[:-missing] + padding), expected)
    for missing in (6, 40, len(whole) // 2):
        with pytest.raises(OSError, match="truncated"):
            pixels(whole[:-missing])


@given(cut=st.integers(3, 2_000), progressive=st.booleans(), level=st.sampled_from([None, 0, 128, 255]))
def test_a_cut_jpeg_has_all_its_pixels_or_is_broken(cut: int, progressive: bool, level: int | None) -> None:
    """A flat image hides a cut best: what a decoder makes up may look like what is missing, and is then right."""
    image = PHOTO if level is None else Image.new("RGB", (64, 48), (level,) * 3)
    whole = encoded(image, "JPEG", progressive=progressive)
    try:
        found = pixels(whole[: -min(cut, len(whole) - 1)])
    except (OSError, NotAnImageError, BrokenFileError):
        return
    np.testing.assert_array_equal(found, pixels(whole))


def test_a_jpeg_of_twelve_bits_says_so() -> None:
    content = bytearray(encoded(PHOTO, "JPEG"))
    content[content.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(BrokenFileError, match="a JPEG with 12 bits a sample can't be decoded"):
        pixels(bytes(content))


def grey_png(depth: int, level: int, transparent: int) -> bytes:
    row = b"\0" + (struct.pack(">H", level) * 8 if depth == 16 else bytes([level * 0xFF // ((1 << depth) - 1)] * depth))
    header = struct.pack(">IIBBBBB", 8, 2, depth, 0, 0, 0, 0)
    parts = [
        (b"IHDR", header),
        (b"tRNS", struct.pack(">H", transparent)),
        (b"IDAT", zlib.compress(row * 2)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_is_black_at_every_depth(depth: int) -> None:
    most = (1 << depth) - 1
    assert np.unique(pixels(grey_png(depth, most, most))).tolist() == [0]
    assert np.unique(pixels(grey_png(depth, most, 0))).tolist() == [255]


@pytest.mark.parametrize(("transparent", "expected"), [((0xC8FF, 0x6400, 0x3210), 0), ((1, 2, 3), 200)])
def test_a_transparent_colour_of_sixteen_bits_is_black(transparent: tuple[int, ...], expected: int) -> None:
    row = b"\0" + struct.pack(">3H", 0xC8FF, 0x6400, 0x3210) * 8
    header = struct.pack(">IIBBBBB", 8, 2, 16, 2, 0, 0, 0)
    parts = [
        (b"IHDR", header),
        (b"tRNS", struct.pack(">3H", *transparent)),
        (b"IDAT", zlib.compress(row * 2)),
        (b"IEND", b""),
    ]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
    assert pixels(content)[0, 0, 0] == expected


def bmp(alphas: list[int], masks: tuple[int, int, int, int] = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)) -> bytes:
    """A BMP of 32 bits a pixel with masks and the header that knows of alpha; pixels are (200, 100, 50)."""
    body = b"".join(bytes([50, 100, 200, alpha]) for alpha in alphas)
    header = struct.pack("<IiiHHIIiiII", 108, len(alphas), 1, 1, 32, 3, len(body), 0, 0, 0, 0)
    header += struct.pack("<4I", *masks) + bytes(108 - 56)
    return b"BM" + struct.pack("<IHHI", 14 + 108 + len(body), 0, 0, 14 + 108) + header + body


@pytest.mark.parametrize(
    ("alphas", "expected"),
    [([0, 0, 0], [200, 200, 200]), ([255, 255, 255], [200, 200, 200]), ([0, 255, 0], [0, 200, 0]), ([128], [100])],
)
def test_a_bmp_whose_alpha_is_zero_everywhere_is_opaque_as_in_browsers(alphas: list[int], expected: list[int]) -> None:
    assert pixels(bmp(alphas))[0, :, 0].tolist() == pytest.approx(expected, abs=1)


def test_another_format_whose_alpha_is_zero_everywhere_is_black() -> None:
    image = Image.new("RGBA", (4, 4), (200, 100, 50, 0))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        assert not pixels(encoded(image, kind, **options)).any()


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA"])
def test_every_mode_with_alpha_is_laid_over_black(mode: str) -> None:
    image = Image.new("RGBA", (2, 2), (255, 255, 255, 128)).convert(
        {"RGBa": "RGBa"}.get(mode, "LA" if mode == "La" else mode)
    )
    image = image.convert("La") if mode == "La" else image
    assert to_pixels(image, 2, 2, 3)[0, 0].tolist() == pytest.approx([128, 128, 128], abs=2)


def test_a_photograph_of_two_pictures_is_the_first() -> None:
    stream = io.BytesIO()
    PHOTO.save(stream, "MPO", save_all=True, append_images=[ImageOps.invert(PHOTO)])
    assert Image.open(io.BytesIO(stream.getvalue())).format == "MPO"
    with Image.open(io.BytesIO(stream.getvalue())) as image:
        np.testing.assert_array_equal(pixels(stream.getvalue()), np.asarray(image))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_the_pages_own_limit_is_named(kind: str) -> None:
    content = encoded(Image.new("RGB", (300, 200)), kind)
    with (
        pytest.raises(TooManyPixelsError, match=r"at most 20,000 pixels; got (300 x 200|60,000)"),
        opened(content, 20_000),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"II*\0" + bytes(20), "a TIFF image"),
        (b"\0\0\x01\0\x01\0" + bytes(20), "an icon"),
        (b"<svg>", "an SVG drawing"),
        (b"\xff\xd8\xff", "a JPEG must say its size"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\4CgBI" + bytes(40), "must begin with its header; it begins with .*CgBI"),
    ],
)
def test_what_is_no_image_has_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(NotAnImageError, match=reason), opened(content, 100):
        pass


def test_a_header_that_can_not_be_read_has_its_reason() -> None:
    """Of two components, and with a method of filtering that nobody has defined."""
    jpeg, png = bytearray(encoded(PHOTO, "JPEG")), bytearray(encoded(PICTURE))
    jpeg[jpeg.index(b"\xff\xc0") + 9] = 2
    png[27] = 1
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    for content, reason in ((jpeg, "cannot handle 2-layer images"), (png, "unknown filter category")):
        with pytest.raises(NotAnImageError, match=f"header can't be read: {reason}"), opened(bytes(content), 9_999):
            pass


@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP"]))
def test_a_reduced_file_decodes_to_the_same_pixels_as_the_file(data: st.DataObject, kind: str) -> None:
    mode = data.draw(st.sampled_from(["RGB", "L", "P", "1", "RGBA", "LA"]))
    size = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    image = Image.effect_noise(size, 90).convert("RGBA").convert(mode)
    image = image.convert("RGB") if kind == "JPEG" or (kind, mode) == ("BMP", "LA") else image
    content = encoded(image, kind)
    width, height = size
    np.testing.assert_array_equal(pixels(content), to_pixels(Image.open(io.BytesIO(content)), height, width, 3))
