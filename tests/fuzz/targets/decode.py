"""Any bytes are an image or have a status; scoring and training see the same pixels, and those that Pillow sees."""

from __future__ import annotations

import io
import itertools
import struct
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from windrow.data import decode as folder
from windrow.data.image import to_pixels
from windrow.data.image_files import bmp_file, gif_file, jpeg_file, orientation, png_file, webp_file
from windrow.data.image_files.faults import ImageFileError
from windrow.scoring.fetch.status import Status
from windrow.scoring.network import pixels

from fuzz import layers
from fuzz.bounds import bounded, lowered

layer = layers.of_image
LONGEST = 4000
TOKENS = [
    *(
        "IHDR",
        "PLTE",
        "IDAT",
        "IEND",
        "tRNS",
        "iCCP",
        "eXIf",
        "acTL",
        "fcTL",
        "fdAT",
        "zTXt",
        "Exif\0\0",
        "II*\0",
        "MM\0*",
    ),
    *(
        "JFIF\0",
        "Adobe\0",
        "GIF87a",
        "GIF89a",
        "NETSCAPE2.0",
        "RIFF",
        "WEBP",
        "VP8 ",
        "VP8L",
        "VP8X",
        "ALPH",
        "ANMF",
        "BM",
    ),
    *("<!--", "-->", "<!DOCTYPE", "<?xml", "<svg", "<html"),
    *("ICC_PROFILE\0", "MPF\0", "http://ns.adobe.com/xap/1.0/\0", "\0\0\0\x0dIHDR"),
]
_LOW = {
    "windrow.data.image_files.png_file.MOST_CHUNKS": 6,
    "windrow.data.image_files.jpeg_file.MOST_SEGMENTS": 12,
    "windrow.data.image_files.jpeg_file.MOST_SCANS": 4,
    "windrow.data.image_files.jpeg_file.MOST_DECODED": 100,
    "windrow.data.image_files.gif_file._MOST_BLOCKS": 2,
    "windrow.data.image_files.webp_file._MOST_CHUNKS": 3,
}
_SHAPE = (12, 10, 3)
_MAX_PIXELS = 40_000
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MISREAD = {bytes([depth, colour]) for depth, colour in ((1, 0), (2, 0), (4, 0), (16, 2))}
"""Depth and kind of a PNG's pixels of which Pillow takes the wrong ones for transparent: see png_file.py."""
_ORIENTED = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
"""Where Pillow looks for an orientation."""
_STATUSES = {Status.OK, Status.NOT_AN_IMAGE, Status.BROKEN_IMAGE, Status.IMAGE_TOO_LARGE}


def _bmp(bits: int, compression: int, colours: bytes, body: bytes) -> bytes:
    """Return a BMP of 2 x 2 pixels with its masks or its palette after the header."""
    header = struct.pack(
        "<IiiHHIIiiII", 40, 2, 2, 1, bits, compression, len(body), 0, 0, len(colours) // 4 if bits < 9 else 0, 0
    )
    start = 14 + len(header) + len(colours)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + colours + body


def _seeds() -> Iterator[bytes]:
    levels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    colour, alpha = Image.fromarray(levels[..., :3]), Image.fromarray(levels)
    grey = Image.fromarray(levels[..., 0])
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A] = 6, "a scan", 300.0
    saved: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (colour, "PNG", {"exif": exif, "icc_profile": b"profile" * 9}),
        (alpha, "PNG", {"dpi": (72, 72)}),
        (colour.quantize(5), "PNG", {"transparency": 2}),
        (grey.convert("1"), "PNG", {}),
        (grey.convert("LA"), "PNG", {}),
        (Image.fromarray(levels[..., 0].astype(np.uint16) << 8), "PNG", {"transparency": 512}),
        (alpha, "PNG", {"save_all": True, "append_images": [alpha.rotate(180)], "duration": 50}),
        (colour, "JPEG", {"exif": exif, "icc_profile": b"profile" * 9}),
        (colour, "JPEG", {"progressive": True, "comment": b"none"}),
        (grey, "JPEG", {"restart_marker_blocks": 1}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour, "MPO", {"save_all": True, "append_images": [colour.rotate(180)]}),
        (colour.quantize(7), "GIF", {"save_all": True, "append_images": [colour.rotate(180)], "transparency": 1}),
        (grey, "GIF", {"interlace": True}),
        (colour, "BMP", {}),
        (alpha, "BMP", {}),
        (grey.convert("1"), "BMP", {}),
        (colour.quantize(3), "BMP", {}),
        (alpha, "WEBP", {"lossless": True, "exif": exif}),
        (colour, "WEBP", {"quality": 10}),
        (alpha, "WEBP", {"save_all": True, "append_images": [alpha.rotate(180)], "quality": 10}),
        (colour, "TIFF", {}),
    ]
    for image, kind, options in saved:
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        yield stream.getvalue()
    masks, palette = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000), bytes(range(8))
    yield _bmp(32, 6, masks, bytes(range(16)))
    yield _bmp(8, 1, palette, b"\2\0\0\0\0\2\1\0\0\0\1\1\0\1")  # runs of equal pixels
    yield _bmp(4, 2, palette, b"\2\x01\0\0\2\x10\0\1")
    yield _bmp(16, 0, b"", bytes(range(8)))
    yield b"BM" + struct.pack("<IHHIIHHHH", 40, 0, 0, 32, 12, 2, 2, 1, 1) + bytes(range(6)) + b"\x40\0\0\0\x80\0\0\0"
    deep = struct.pack(">6H", 512, 7, 9, 65535, 0, 256)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)), (b"tRNS", deep[:6])]
    yield layers._png_of([*chunks, (b"IDAT", zlib.compress(b"\0" + deep)), (b"IEND", b"")])
    yield b"\xef\xbb\xbf <?xml version='1.0'?> <!-- a > b --> <!DOCTYPE html>\n<html>"
    yield from (b"", b"<svg/>", _SIGNATURE, b"\xff\xd8\xff", b"GIF89a", b"RIFF\x04\0\0\0WEBP", b"BM")


SEEDS = list(_seeds())


def check(data: bytes) -> None:
    """Decode the bytes, and a PNG with its checksums put right as well; inputs with an odd length meet low limits."""
    with lowered(_LOW, len(data) % 2 == 1):
        _check_file(data)


def _check_file(data: bytes) -> None:
    for reduce in (png_file.reduced, bmp_file.reduced, jpeg_file.reduced, gif_file.reduced, webp_file.reduced):
        with suppress(ImageFileError):
            reduce(data)
    assert orientation.read(data) in (None, *range(1, 9))
    _check(data)
    if data.startswith(_SIGNATURE):
        _check(_repaired(data))


def _check(content: bytes) -> None:
    with bounded(mebibytes=100, seconds=3):
        decoded = pixels.decode(content, _SHAPE, _MAX_PIXELS)
        jpeg = pixels.as_jpeg(content, _MAX_PIXELS)
    for each in (decoded, jpeg):
        assert each.status in _STATUSES, each
        assert (each.error is None) == (each.status is Status.OK), each
        (each.error or "").encode()
        assert len(each.error or "") <= 400
    assert (jpeg.jpeg is not None) == (jpeg.status is Status.OK)
    if decoded.pixels is None:
        assert decoded.status is not Status.OK
        return
    assert decoded.pixels.shape == _SHAPE
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.width or 0) * (decoded.height or 0) <= _MAX_PIXELS
    # An upright JPEG is passed on with only its header read; anything else must be decoded by both.
    assert jpeg.status is Status.OK, jpeg
    with tempfile.NamedTemporaryFile(prefix="windrow-fuzz-") as file:
        file.write(content)
        file.flush()
        opened = folder._open(file.name, folder.Format(*_SHAPE, resize=True))
    assert opened.problem is None, opened
    assert opened.pixels == decoded.pixels.tobytes(), "training and scoring see other pixels"
    for shape, resize in (((12, 10, 1), "smooth"), (_SHAPE, "crop"), (_SHAPE, "plain"), ((7, 9, 3), "corner")):
        with bounded(mebibytes=100, seconds=3):
            other = pixels.decode(content, shape, _MAX_PIXELS, resize)  # type: ignore[arg-type]
        assert other.pixels is not None, other
        assert other.pixels.shape == shape
    if _is_misread(content):
        return
    plain = list(_by_pillow(content))
    assert not plain or any(np.array_equal(each, decoded.pixels) for each in plain), "Pillow sees other pixels"


def _is_part(content: bytes) -> bool:
    """Return whether an animated PNG says that its still image is a part of a frame, which Pillow then shows alone."""
    chunks = layers._chunks(content, len(png_file.MARK), ">I4s", padded=False)
    before = itertools.takewhile(lambda chunk: chunk[0] != b"IDAT", chunks)
    return any(name == b"fcTL" and data[4:20] != content[16:24] + bytes(8) for name, data in before)


def _is_misread(content: bytes) -> bool:
    """Return whether Pillow may show other pixels than browsers and libpng, or take other ones for transparent."""
    if content.startswith(png_file.MARK):
        if _is_part(content):
            return True
        place = content.rfind(b"tRNS")  # of two, Pillow takes the last
        odd = content.count(b"tRNS") > 1 or content[24:26] in _MISREAD
        is_elsewhere = not content.find(b"PLTE") < place < content.find(b"IDAT")  # -1 without a palette
        return place >= 0 and (odd or is_elsewhere)
    if not content.startswith(gif_file.MARKS):
        return False
    names = [
        name[:1] if name[:1] == b"," else name[:2] for name, _ in layers.gif_parts(content)[1]
    ]  # the last of two controls before an image counts
    first = names[: names.index(b",") if b"," in names else None]
    return first.count(b"\x21\xf9") > 1


def _by_pillow(content: bytes) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels of the whole file, with all metadata, in every orientation; nothing if Pillow can't read it.

    Some masks and palettes Pillow reads wrong: a BMP or GIF is what it is reduced to, which its own tests compare.
    Which orientation is the right one is left to the tests of data/image_files: Pillow gives up at odd tags.
    """
    reduce = {b"BM": bmp_file.reduced, b"GI": gif_file.reduced}.get(content[:2])
    content = reduce(content) if reduce else content
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "GIF", "BMP", "WEBP")) as image:
            if image.format in ("GIF", "BMP"):  # which say no orientation
                yield to_pixels(image, *_SHAPE)
                return
            image.load()
            for turn in (None, *Image.Transpose):
                turned = image.copy() if turn is None else image.transpose(turn)
                for name in _ORIENTED:
                    turned.info.pop(name, None)
                yield to_pixels(turned, *_SHAPE)


def _repaired(content: bytes) -> bytes:
    """Return a PNG with the right checksum in each chunk."""
    parts, place = [_SIGNATURE], len(_SIGNATURE)
    while place + 8 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        named = content[place + 4 : place + 8 + min(length, len(content))]
        parts += [content[place : place + 4], named, struct.pack(">I", zlib.crc32(named))]
        place += 12 + length
    return b"".join(parts)
