"""Reduce a WebP to the chunks that its pixels need, and its orientation.

Source: Google, "WebP Container Specification"; RFC 9649.
"""

from __future__ import annotations

import struct

from windrow.data.image_files import orientation

_EXTENDED = b"VP8X\x0a\0\0\0"
_HEADER_BYTES = 30  # to the end of the chunk VP8X
_PROFILE, _EXIF, _XMP = 0x20, 0x08, 0x04  # flags of the chunk VP8X
_NEEDED = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")
_MOST_CHUNKS = 100_000


def is_webp(head: bytes) -> bool:
    """Return whether a file begins as a WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def reduced(content: bytes) -> bytes:
    """Return a WebP with the same pixels and orientation, and without other metadata.

    A file without metadata, one that is cut off, and one with another first chunk are returned unchanged.
    """
    if content[12:20] != _EXTENDED or len(content) < _HEADER_BYTES or not content[20] & (_PROFILE | _EXIF | _XMP):
        return content
    whole = 8 + struct.unpack_from("<I", content, 4)[0]
    if not _HEADER_BYTES <= whole <= len(content):
        return content
    view, parts, place, turn = memoryview(content), [], 12, None
    for _ in range(_MOST_CHUNKS):
        if place + 8 > whole:
            break
        name, length = struct.unpack_from("<4sI", content, place)
        end = place + 8 + length + (length & 1)
        if name in _NEEDED:
            parts.append(view[place:end])
        elif name == b"EXIF" and turn is None:
            turn = orientation.read(view[place + 8 : place + 8 + length])
        place = end
    else:
        return content
    flags = content[20] & ~(_PROFILE | _EXIF | _XMP)
    if turn not in (None, orientation.UPRIGHT):
        flags |= _EXIF
        exif = orientation.write(turn or orientation.UPRIGHT)
        parts.append(memoryview(b"EXIF" + struct.pack("<I", len(exif)) + exif))
    body = bytearray(b"".join([b"WEBP", *parts]))
    body[12] = flags
    return b"RIFF" + struct.pack("<I", len(body)) + bytes(body)
