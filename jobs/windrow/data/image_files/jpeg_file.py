"""Reduce a JPEG to the segments that its pixels need, and its orientation; complete one that lacks its end mark.

Segments with colour profiles, texts, previews and other metadata may come in any number: they are passed over. Source:
ITU-T T.81, annex B.
"""

from __future__ import annotations

import io
import re
import struct
from collections import defaultdict
from dataclasses import dataclass

from PIL import Image

from windrow.data.image_files import orientation
from windrow.data.image_files.faults import BrokenFileError, NotAnImageError

MARK = b"\xff\xd8\xff"
END = b"\xff\xd9"

MOST_SEGMENTS = 100_000
"""The most segments before the pixels. A colour profile of 20 MB has 320."""

MOST_SCANS = 100
"""The most scans of an image. Encoders write at most 20. A scan of 60 bytes can take 15 ms for 40,000,000 pixels, so a
small file without this limit could take an hour."""

_SCAN, _COMMENT = 0xDA, 0xFE
_COLOURS = (b"JFIF\0", b"Adobe")
"""How the segments of applications begin that the colours depend on."""

_ALONE = (0x01, *range(0xD0, 0xD9))  # marks without a segment
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COEFFICIENTS = 64
_FILLERS = (b"", b"\xfe" * 64, b"\xaa" * 64, bytes(range(0x11, 0xE1, 3)))
"""Bytes in place of missing ones: none, which a decoder takes for zeros, ones, both in turn, and many kinds."""


@dataclass(frozen=True)
class Reduced:
    """A JPEG without metadata except its orientation; `ended` is false if its end mark is missing."""

    content: bytes
    ended: bool


def reduced(content: bytes) -> Reduced:
    """Return a JPEG with the same pixels and orientation, and without other metadata.

    Raises:
        NotAnImageError: the file ends, or its segments end, before it says the image's size.
        BrokenFileError: the image has other than 8 bits a sample, or more than MOST_SCANS scans, or the file more than
            MOST_SEGMENTS segments.
    """
    view, parts, place, turn, measured = memoryview(content), [], 2, None, False
    for _ in range(MOST_SEGMENTS):
        if place + 4 > len(content) or content[place] != 0xFF:
            break
        kind = content[place + 1]
        while kind == 0xFF and place + 4 < len(content):  # a mark may be filled up
            place += 1
            kind = content[place + 1]
        if kind == _SCAN:
            break
        if kind in _ALONE:
            place += 2
            continue
        end = place + 2 + (content[place + 2] << 8 | content[place + 3]) if place + 4 <= len(content) else len(content)
        if kind in _FRAMES:
            measured = True
            if content[place + 4 : place + 5] not in (b"\x08", b""):
                raise BrokenFileError(f"a JPEG with {content[place + 4]} bits a sample can't be decoded")
        if kind == 0xE1 and turn is None:
            turn = _turn(view[place + 4 : end])
        elif not 0xE0 <= kind <= 0xEF:
            if kind != _COMMENT:
                parts.append(view[place:end])
        elif content[place + 4 : place + 9] in _COLOURS:
            parts.append(view[place:end])
        place = max(end, place + 2)
    else:
        raise BrokenFileError(f"it has more than {MOST_SEGMENTS:,} segments before its pixels")
    if not measured:
        raise NotAnImageError("a JPEG must say its size before its pixels; it does not")
    exif = b"" if turn in (None, orientation.UPRIGHT) else _segment(b"Exif\0\0" + orientation.write(turn or 1))
    end = content.find(END, place)
    if content.count(bytes([0xFF, _SCAN]), place, end if end >= 0 else len(content)) > MOST_SCANS:
        raise BrokenFileError(f"it has more than {MOST_SCANS:,} scans")
    ended = end >= 0
    return Reduced(b"".join([content[:2], exif, *parts, view[place:]]), ended)


def is_ended(content: bytes) -> bool:
    """Return whether a file is a JPEG with an end mark after its last scan."""
    return content.startswith(MARK) and content.rfind(END) > content.rfind(bytes([0xFF, _SCAN]))


def _turn(segment: memoryview) -> int | None:
    return orientation.read(segment) if bytes(segment[:6]) == b"Exif\0\0" else None


def _segment(content: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def completed(content: bytes) -> bytes:
    """Return a JPEG without an end mark with one, if it has all its pixels; else return it unchanged.

    A decoder makes up pixels that are missing. So it is asked with different bytes in their place: the images are equal
    only if nothing was missing. The second scans of a progressive JPEG are looked for as well.
    """
    if not _has_all_scans(content):
        return content
    content = content[:-1] if content.endswith(b"\xff") else content
    images = {_decoded(content + filler + END) for filler in _FILLERS}
    return content + END if len(images) == 1 and None not in images else content


def _decoded(content: bytes) -> bytes | None:
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            return image.tobytes()
    except Exception:  # Pillow raises almost anything
        return None


def _has_all_scans(content: bytes) -> bool:
    """Return whether the scans have all bits of all coefficients of all components."""
    left: defaultdict[int, list[int]] = defaultdict(lambda: [255] * _COEFFICIENTS)
    components = _components(content)
    for found in re.finditer(rb"\xff\xda", content):
        scan = content[found.end() + 2 : found.end() + 14]
        count = scan[0] if scan else 0
        if not 1 <= count <= 4 or len(scan) < 4 + 2 * count:
            return False
        first, last, low = scan[1 + 2 * count], scan[2 + 2 * count], scan[3 + 2 * count] & 15
        for component in scan[1 : 1 + 2 * count : 2]:
            left[component][first : last + 1] = [low] * len(left[component][first : last + 1])
    return bool(components) and all(not any(left[component]) for component in components)


def _components(content: bytes) -> bytes:
    """Return the numbers of the image's components, by its frame's header."""
    place = 2
    while place + 10 <= len(content) and content[place] == 0xFF and content[place + 1] != _SCAN:
        if content[place + 1] in _FRAMES:
            return content[place + 10 : place + 10 + 3 * content[place + 9] : 3]
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
    return b""
