"""Write the header of a BMP with masks for alpha as Pillow knows it.

Source: Microsoft, "BITMAPINFOHEADER structure" and "BITMAPV3INFOHEADER"; BI_ALPHABITFIELDS is of Windows CE.
"""

from __future__ import annotations

import struct

_SHORT_HEADER, _LONG_HEADER = 40, 56  # bytes; the long one has the four masks that follow the short one
_MASKS, _MASKS_WITH_ALPHA = 3, 6  # kinds of compression


def reduced(content: bytes) -> bytes:
    """Return a BMP with the same pixels whose four masks are in its header; any other file unchanged."""
    if len(content) < 14 + _LONG_HEADER or struct.unpack_from("<I", content, 30)[0] != _MASKS_WITH_ALPHA:
        return content
    size = struct.unpack_from("<I", content, 14)[0]
    changed = bytearray(content)
    struct.pack_into("<I", changed, 14, _LONG_HEADER if size == _SHORT_HEADER else size)
    struct.pack_into("<I", changed, 30, _MASKS)
    return bytes(changed)
