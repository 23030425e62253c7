"""Write a BMP with masks or a short palette as Pillow knows it.

Source: Microsoft, "BITMAPINFOHEADER structure" and "BITMAPV3INFOHEADER"; BI_ALPHABITFIELDS is of Windows CE.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_SHORT_HEADER, _LONG_HEADER = 40, 56  # bytes; the long one has the four masks that may follow the short one
_HEADERS = (_SHORT_HEADER, 52, _LONG_HEADER, 64, 108, 124)  # those with a field for the compression
_PLAIN, _MASKS, _MASKS_WITH_ALPHA = 0, 3, 6  # kinds of compression
_ALPHA_FIRST = 0xFF000000
_OTHER_COLOUR = b"\1\2\3\0"  # no grey
_STANDARD = (0xFF0000, 0xFF00, 0xFF, _ALPHA_FIRST)
_KNOWN = {
    16: ((0xF800, 0x7E0, 0x1F, 0), (0x7C00, 0x3E0, 0x1F, 0)),
    32: (_STANDARD, (*_STANDARD[:3], 0), (0xFF, 0xFF00, 0xFF0000, _ALPHA_FIRST), (0, 0, 0, 0)),
}
"""Masks that Pillow reads, by bits a pixel."""

_MOST_PIXELS = 80_000_000
"""Pixels of an image whose masks are not Pillow's: it is converted in memory."""
_ROWS = 256  # of pixels, which are converted at once


def reduced(content: bytes) -> bytes:
    """Return a BMP with the same pixels that Pillow reads right; any other file unchanged.

    Masks that Pillow does not know become those that it knows, and a palette of fewer colours than its bits allow gets
    as many: of one with black and white alone Pillow would read one bit a pixel, whatever the header says.
    """
    if len(content) < 14 + _SHORT_HEADER or (size := struct.unpack_from("<I", content, 14)[0]) not in _HEADERS:
        return content
    bits, compression = struct.unpack_from("<HI", content, 28)
    if compression in (_MASKS, _MASKS_WITH_ALPHA) and bits in _KNOWN:
        return _with_known_masks(content, size, bits, compression)
    return _with_whole_palette(content, size, bits) if bits in (4, 8) else content


def _with_known_masks(content: bytes, size: int, bits: int, compression: int) -> bytes:
    has_alpha = size >= _LONG_HEADER or compression == _MASKS_WITH_ALPHA
    masks = (*struct.unpack_from("<3I", content.ljust(70, b"\0"), 54), 0)
    if has_alpha:
        masks = struct.unpack_from("<4I", content.ljust(70, b"\0"), 54)
    if compression == _MASKS and masks in _KNOWN[bits]:
        return content
    start, width, height = struct.unpack_from("<I4xii", content, 10)
    stride = (width * bits + 31) // 32 * 4
    needed = stride * abs(height)
    if width < 1 or not 0 < width * abs(height) <= _MOST_PIXELS or len(content) < start + needed:
        return content
    masks = tuple(mask & ((1 << bits) - 1) for mask in masks)
    if not any(masks) or not all(map(_is_a_run, masks)):
        return content
    words = np.frombuffer(content, np.uint8, needed, start).reshape(abs(height), stride)
    pixels = np.empty((abs(height), width, 4), np.uint8)
    for top in range(0, abs(height), _ROWS):
        part = slice(top, top + _ROWS)
        values = words[part, : width * bits // 8].copy().view(f"<u{bits // 8}")
        for place, mask in zip((2, 1, 0, 3), masks, strict=True):  # blue first
            pixels[part, :, place] = _levels(values, mask)
    header = struct.pack("<IiiHHIIiiII", _LONG_HEADER, width, height, 1, 32, _MASKS, pixels.size, 0, 0, 0, 0)
    header += struct.pack("<4I", *_STANDARD[:3], _ALPHA_FIRST if masks[3] else 0)
    return b"".join((b"BM", struct.pack("<IHHI", 70 + pixels.size, 0, 0, 70), header, pixels.data))


def _is_a_run(mask: int) -> bool:
    """Return whether the bits of a mask are next to each other, or there are none."""
    return not mask or not ((mask // (mask & -mask)) + 1) & (mask // (mask & -mask))


def _levels(values: NDArray[np.unsignedinteger], mask: int) -> NDArray[np.uint8]:
    """Return the bits under a mask as levels from 0 to 255."""
    if not mask:
        return np.zeros(values.shape, np.uint8)
    lowest = mask & -mask
    most = mask // lowest
    part = (values & values.dtype.type(mask)) >> (lowest.bit_length() - 1)
    if most > 255:
        return (part >> (most.bit_length() - 8)).astype(np.uint8)
    return ((part.astype(np.uint32) * 255 + most // 2) // most).astype(np.uint8)


def _with_whole_palette(content: bytes, size: int, bits: int) -> bytes:
    used, start = struct.unpack_from("<I", content, 46)[0], struct.unpack_from("<I", content, 10)[0]
    first, colours = 14 + size, 1 << bits
    if bits == 4:
        colours += 1  # Pillow reads eight bits a pixel where each colour is the grey of its number
    used = used or 1 << bits
    end = first + 4 * used
    if (used == colours and start % 2 == 0) or used > 1 << bits or start < end:  # Pillow reads runs from even places
        return content
    palette = content[first:end] + _OTHER_COLOUR * (colours - used)
    changed = bytearray(content[:first] + palette + content[start:])
    struct.pack_into("<I", changed, 46, colours)
    struct.pack_into("<I", changed, 10, first + len(palette))
    return bytes(changed)
