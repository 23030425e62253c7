"""What the readers of images and small files take, by size, for the rows of docs/limits.md."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from PIL import Image
from windrow import text_files
from windrow.data import decode
from windrow.data.image_files import gif_file, jpeg_file, opening, orientation, png_file, webp_file
from windrow.errors import UserError

from tests.docs.limits_of_feeds import Claims
from tests.windrow.scoring.conftest import png_header


def is_folders_image(pixels: int) -> bool:
    """Whether an image is opened, or fails for another reason than its size."""
    try:
        with opening.opened(png_header(pixels, 1), decode.MAX_PIXELS):
            return True
    except opening.TooManyPixelsError:
        return False


def _file(size: int) -> Any:
    """A path whose file claims to be so large, as far as it is asked for."""

    def read(most: int) -> bytes:
        content = Claims(b"")
        content.size = min(size, most)
        return content

    return cast("Path", SimpleNamespace(open=lambda _: _Opened(read)))


class _Opened(io.BytesIO):
    def __init__(self, read: Any) -> None:
        super().__init__()
        self.read = read  # type: ignore[method-assign]


def is_folders_file(size: int) -> bool:
    try:
        return len(decode._content(_file(size))) == size
    except ValueError:
        return False


def is_small_text(size: int) -> bool:
    try:
        text_files.read(_file(size))
    except UserError:
        return False
    return True


def _chunk(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_chunks(count: int) -> bool:
    plain = png_header(8, 8)
    begin, end = plain[:33], plain[33:]  # the header; the pixels and the end
    try:
        png_file.reduced(begin + _chunk(b"tEXt") * (count - 3) + end)
    except opening.BrokenFileError:
        return False
    return True


def jpeg_segments(count: int) -> bool:
    """Whether a JPEG of so many segments is read; its tables, its frame and its scan are the last."""
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "JPEG")
    plain = stream.getvalue()
    own = 2 + plain[2:].index(b"\xff\xdb")
    last = sum(plain.count(mark) for mark in (b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda"))
    try:
        jpeg_file.reduced(plain[:2] + b"\xff\xe2\x00\x02" * (count - last) + plain[own:])
    except opening.BrokenFileError:
        return False
    return True


def gif_blocks(count: int) -> bool:
    """Whether so many comments before an image are left out."""
    header = b"GIF89a" + bytes(7)
    return gif_file.reduced(header + b"\x21\xfe\x00" * count + b"\x2c") == header + b"\x2c"


def webp_chunks(count: int) -> bool:
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x04" + bytes(9)
    body = b"WEBP" + extended + b"VP8L" + bytes(4) + (b"JUNK" + bytes(4)) * (count - 2)
    whole = b"RIFF" + struct.pack("<I", len(body)) + body
    return webp_file.reduced(whole) != whole


def exif(size: int) -> bool:
    """Whether an orientation is read that ends at the last byte."""
    entry = struct.pack("<HHHIHH", 1, 0x0112, 3, 1, 6, 0)
    data = b"II*\0" + struct.pack("<I", size - len(entry))
    return orientation.read(data.ljust(size - len(entry), b"\0") + entry) == 6
