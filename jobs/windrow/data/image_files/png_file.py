"""Reduce a PNG to the chunks that its pixels need, and its orientation.

A chunk is a length, a name of four letters, the content and a checksum. Chunks with colour profiles, texts and other
metadata may hold anything, in any number and of any size: their content and checksums are not looked at. Source:
W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 2025.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from windrow.data.image_files import orientation
from windrow.data.image_files.faults import BrokenFileError, NotAnImageError
from windrow.plural import counted

MARK = b"\x89PNG\r\n\x1a\n"

MOST_CHUNKS = 100_000
"""The most chunks of a file. An image of 80,000,000 pixels has 30,000 if its encoder writes 8 KiB at a time."""

_GREY, _COLOUR, _PALETTE = 0, 2, 3
_LEAST_LEVELS = {_GREY: 2, _COLOUR: 6, _PALETTE: 1}  # bytes of the transparency; other kinds of pixels have their own
_MOST_ALPHAS = 256  # of a palette
_COLOUR_BYTES = 3


@dataclass(frozen=True)
class ReducedPng:
    """A PNG without metadata except its orientation.

    Attributes:
        head: the file up to its pixels, with the name of the chunk that they begin in; all of it if it has none.
        pixels: their compressed data, in pieces of the file as it is: a copy of them takes a tenth of the time that
            decoding takes.
    """

    head: bytes
    pixels: tuple[memoryview, ...]


def reduced(content: bytes) -> ReducedPng:
    """Return a PNG with the same pixels and orientation, and without other metadata.

    What follows a cut stays as it is, so that decoding fails there. The animation of an animated PNG is left out.

    Raises:
        NotAnImageError: the file has no header.
        BrokenFileError: the checksum of the header is wrong; an image that needs a palette has none, or one that is
            damaged; a chunk before the pixels has no valid name; or the file has two headers, or more than
            MOST_CHUNKS chunks.
    """
    if content[12:16] != b"IHDR" or len(content) < 29:
        raise NotAnImageError(f"a PNG must begin with its header; it begins with {content[8:16]!r}")
    view, place, turn = memoryview(content), len(MARK), None
    parts: list[bytes | memoryview] = [MARK]
    pixels: list[memoryview] = []
    seen: set[bytes] = set()
    needed = {b"PLTE"} if content[25] == _PALETTE else set()
    for _ in range(MOST_CHUNKS):
        if place + 8 > len(content):
            break
        length, name = struct.unpack_from(">I4s", content, place)
        end = place + length + 12
        if not name.isalnum():  # Pillow reads digits, too
            if pixels:  # rubbish after the pixels does no harm
                break
            raise BrokenFileError(f"its chunk at byte {place} has no valid name: {name!r}")
        if name == b"IDAT":
            if needed - seen:
                raise BrokenFileError("its pixels need a palette, and none is before them")
            pixels.append(view[place + 8 : end - 4])
        elif name == b"IHDR" and len(parts) > 1:
            raise BrokenFileError("it has two headers")
        elif name == b"IHDR" or (name == b"PLTE" and needed and not pixels):
            parts.append(_checked(view[place:end], name))
            if name == b"PLTE" and (not length or length % _COLOUR_BYTES):
                raise BrokenFileError(f"its palette must have whole colours; it has {counted(length, 'byte')}")
        elif name == b"tRNS" and not pixels and b"tRNS" not in seen and needed <= seen:
            parts.append(_transparency(bytes(view[place:end]), content[24], content[25]))
        elif name == b"eXIf" and turn is None:
            turn = (
                orientation.read(view[place + 8 : end - 4]) or orientation.UPRIGHT
            )  # the first counts, as in browsers
        elif name == b"IEND":
            break
        place = end
        seen.add(name)
    else:
        raise BrokenFileError(f"it has more than {MOST_CHUNKS:,} chunks")
    if pixels:
        parts.append(struct.pack(">I4s", 0, b"IDAT"))
    elif place + 8 <= len(content):
        parts.append(_chunk(b"IEND", b""))
    if turn is not None and turn != orientation.UPRIGHT:
        parts.insert(2, _chunk(b"eXIf", orientation.write(turn)))
    return ReducedPng(b"".join(parts), tuple(pixels))


def _is_cut(chunk: bytes | memoryview) -> bool:
    return len(chunk) < 12 or len(chunk) < 12 + struct.unpack_from(">I", chunk)[0]


def _is_right(chunk: bytes | memoryview) -> bool:
    """Return whether a chunk's checksum is right."""
    return bool(zlib.crc32(chunk[4:-4]) == struct.unpack_from(">I", chunk, len(chunk) - 4)[0])


def _checked(chunk: memoryview, name: bytes) -> memoryview:
    """Return a chunk whose checksum is right, or that is cut off."""
    if not _is_cut(chunk) and not _is_right(chunk):
        raise BrokenFileError(f"the checksum of its {name.decode()} is wrong, so the file is damaged")
    return chunk


def _transparency(chunk: bytes, depth: int, colour: int) -> bytes:
    """Return the chunk tRNS with levels of the depth that Pillow gives the pixels, which it does not convert itself.

    Nothing is returned for a chunk with a wrong checksum, one that is too short, and one of pixels that have their own
    alpha: libpng, and so browsers, show the image without it.
    """
    if _is_cut(chunk):
        return chunk
    levels = chunk[8:-4]
    if not _is_right(chunk) or len(levels) < _LEAST_LEVELS.get(colour, len(levels) + 1):
        return b""
    if colour == _GREY and 0 < depth < 8:
        most = (1 << depth) - 1
        levels = struct.pack(">H", (int.from_bytes(levels[:2]) & most) * 255 // most)
    elif colour == _COLOUR and depth == 16:
        levels = struct.pack(">3H", *(level >> 8 for level in struct.unpack(">3H", levels[:6])))
    return _chunk(b"tRNS", levels[:_MOST_ALPHAS])


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
