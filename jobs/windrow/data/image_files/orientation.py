"""Read the orientation from EXIF data, and write EXIF data that have nothing else.

EXIF data are a TIFF file without an image: a byte order, and a directory of entries. Everything except the entry of the
orientation is passed over, so that a broken entry costs nothing. Sources: CIPA DC-008 (EXIF 2.32), TIFF 6.0, section 2.
"""

from __future__ import annotations

import struct

UPRIGHT = 1
"""The orientation of an image that needs no turn; others are 2 to 8."""

MOST_BYTES = 1 << 16
"""Bytes of EXIF data that are looked at: what a segment of a JPEG holds."""

_PREFIX = b"Exif\0\0"
_TAG, _SHORT, _ENTRY_BYTES = 0x0112, 3, 12
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def read(exif: bytes | memoryview) -> int | None:
    """Return the orientation in EXIF data, 1 to 8; None if they say none, or none that the standard knows.

    Args:
        exif: the data, with or without the six bytes "Exif" and two zeros that they begin with in a JPEG.
    """
    data = bytes(exif[:MOST_BYTES])
    data = data[len(_PREFIX) :] if data.startswith(_PREFIX) else data
    order = _ORDERS.get(data[:4])
    if order is None or len(data) < 8:
        return None
    start = struct.unpack_from(f"{order}I", data, 4)[0]
    if start + 2 > len(data):
        return None
    count = struct.unpack_from(f"{order}H", data, start)[0]
    for place in range(start + 2, min(start + 2 + count * _ENTRY_BYTES, len(data) - _ENTRY_BYTES + 1), _ENTRY_BYTES):
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", data, place)
        if tag == _TAG and kind == _SHORT and values == 1 and 1 <= value <= 8:
            return int(value)
    return None


def write(orientation: int) -> bytes:
    """Return EXIF data that have the orientation alone, without the prefix of a JPEG."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, _TAG, _SHORT, 1, orientation, 0, 0)
