"""Reduce a WebP to the chunks that its pixels need, and its orientation.

Source: Google, "WebP Container Specification"; RFC 9649.
"""

from __future__ import annotations

import struct

from windrow.data.image_files import orientation

_HEADER_BYTES = 30  # to the end of the chunk VP8X
_FIRST = (b"VP8 ", b"VP8L", b"VP8X\x0a\0\0\0")
_PROFILE, _EXIF, _XMP = 0x20, 0x08, 0x04  # flags of the chunk VP8X
_NEEDED = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")
_PIXELS = (b"VP8 ", b"VP8L", b"ANMF")
_MOST_CHUNKS = 100_000


def is_webp(head: bytes) -> bool:
    """Return whether a file begins as a WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def reduced(content: bytes) -> bytes:
    """Return a WebP with the same pixels and orientation, and without other metadata.

    The size in a file's head may be too large, and metadata may be cut off. A file whose pixels are cut off, or with
    another first chunk, is returned unchanged.
    """
    if len(content) < _HEADER_BYTES or not content.startswith(_FIRST, 12):
        return content
    whole = min(8 + struct.unpack_from("<I", content, 4)[0], len(content))
    if whole < _HEADER_BYTES:
        return content
    view, parts, place, turn, has_pixels = memoryview(content), [], 12, None, False
    for _ in range(_MOST_CHUNKS):
        if place + 8 > whole:
            break
        name, length = struct.unpack_from("<4sI", content, place)
        end = place + 8 + length
        if name in _NEEDED:
            if end > len(content):
                return content
            parts += [view[place:end], memoryview(b"\0" * (length & 1))]
            has_pixels = has_pixels or name in _PIXELS
        elif name == b"EXIF" and turn is None:
            turn = orientation.read(view[place + 8 : end]) or orientation.UPRIGHT
        place = end + (length & 1)
    else:
        return content
    if not has_pixels:
        return content
    extended = content.startswith(_FIRST[2], 12)
    flags = content[20] & ~(_PROFILE | _EXIF | _XMP)
    if extended and turn not in (None, orientation.UPRIGHT):
        flags |= _EXIF
        exif = orientation.write(turn or orientation.UPRIGHT)
        parts.append(memoryview(b"EXIF" + struct.pack("<I", len(exif)) + exif))
    body = bytearray(b"".join([b"WEBP", *parts]))
    if extended:
        body[12] = flags
    return b"RIFF" + struct.pack("<I", len(body)) + bytes(body)
