"""Reduce a GIF to what its first image needs: comments, other extensions and an unused palette are left out.

Source: CompuServe, "Graphics Interchange Format, Version 89a".
"""

from __future__ import annotations

MARKS = (b"GIF87a", b"GIF89a")

_EXTENSION, _CONTROL, _IMAGE = 0x21, 0xF9, b","
_MOST_BLOCKS = 1_000_000


def reduced(content: bytes) -> bytes:
    """Return a GIF with the same first image; a file that is not well-formed before it is returned unchanged."""
    table = 3 << ((content[10] & 7) + 1) if len(content) > 13 and content[10] & 0x80 else 0
    start = place = 13 + table
    control = b""
    for _ in range(_MOST_BLOCKS):
        if content[place : place + 1] != bytes([_EXTENSION]) or place + 2 >= len(content):
            break
        kind, begin = content[place + 1], place
        place = _after(content, place + 2)
        if kind == _CONTROL:
            control = content[begin:place]
    if content[place : place + 1] == _IMAGE and len(content) > place + 9 and content[place + 9] & content[10] & 0x80:
        # Pillow mixes the two palettes up if the image's own is a scale of greys.
        return content[:10] + bytes([content[10] & 0x7F]) + content[11:13] + control + content[place:]
    return content if place == start else content[:start] + control + content[place:]


def _after(content: bytes, place: int) -> int:
    """Return where the blocks end that begin at a place, each with its length in its first byte."""
    while place < len(content) and content[place]:
        place += content[place] + 1
    return place + 1
