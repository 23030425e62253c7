"""Reduce a JPEG to the segments that its pixels need, and its orientation; complete one that lacks its end mark.

Segments with colour profiles, texts, previews and other metadata may come in any number: they are passed over. Source:
ITU-T T.81, annex B.
"""

from __future__ import annotations

import hashlib
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

MOST_DECODED = 400_000_000
"""The most pixels, times the scans, of a JPEG without an end mark that is looked at for missing pixels: 40,000,000
pixels in ten scans. That takes up to five decodings, a second or two for most images of this size."""

_SCAN, _END, _COMMENT = 0xDA, 0xD9, 0xFE
_BEGIN = bytes([0xFF, _SCAN])
_MARK = re.compile(rb"\xff[^\0\xff]")
_MARK_IN_PIXELS = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")  # without the marks of restarts, which have no segment
_COLOURS = {b"JFIF\0": 14, b"Adobe": 12}
"""How the segments of applications begin that the colours depend on, and their least bytes: decoders pass over shorter
ones, and Pillow fails at them."""

_LONGER = 1 << 16  # than any segment
_ALONE = (0x01, *range(0xD0, 0xD9))  # marks without a segment
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = (0xC0, 0xC1)
_HUFFMAN = (*_SEQUENTIAL, 0xC2)
_COEFFICIENTS = 64
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_FILLERS = (b"\xfe" * 64, b"\xaa" * 64, bytes(range(0x11, 0xE1, 3)))
"""Bytes in place of missing ones, which a decoder takes for zeros without them: ones, both in turn, and many kinds."""
_ROWS = 256  # of pixels, whose bytes are copied at once


@dataclass(frozen=True)
class ReducedJpeg:
    """A JPEG without metadata except its orientation.

    Attributes:
        head: the file up to its first scan, with that scan's header.
        pixels: the rest, as it is in the file: a copy of it may take a tenth of the time that decoding takes.
        ended: whether it has its end mark.
        scans: where in it the scans begin.
        frame: the mark of its last frame, 0xC0 to 0xCF.
    """

    head: bytes
    pixels: memoryview
    ended: bool
    scans: tuple[int, ...]
    frame: int

    @property
    def content(self) -> bytes:
        """The file in one piece."""
        return self.head + self.pixels


def reduced(content: bytes) -> ReducedJpeg:
    """Return a JPEG with the same pixels and orientation, and without other metadata.

    Raises:
        NotAnImageError: the file ends, or its segments end, before it says the image's size.
        BrokenFileError: the image has other than 8 bits a sample, or more than MOST_SCANS scans, or the file more than
            MOST_SEGMENTS segments before its pixels or between its scans.
    """
    view, parts, place, turn, frame, in_one = memoryview(content), [], 2, None, 0, b""
    for _ in range(MOST_SEGMENTS):
        found = _MARK.search(content, place)  # decoders pass over anything between two segments
        if found is None:
            place = len(content)
            break
        place, kind = found.start(), content[found.start() + 1]
        if kind in (_SCAN, _END):
            break
        if kind in _ALONE:
            place += 2
            continue
        end = _end(content, place)
        if end < place + 4:  # no valid length
            place += 4
            continue
        if kind in _FRAMES:
            frame = kind
            in_one = content[place + 9 : place + 10] if kind in _SEQUENTIAL else b""
            if content[place + 4 : place + 5] not in (b"\x08", b""):
                raise BrokenFileError(f"a JPEG with {content[place + 4]} bits a sample can't be decoded")
        if kind == 0xE1 and turn is None:
            turn = _turn(view[place + 4 : end])
        elif not 0xE0 <= kind <= 0xEF:
            if kind != _COMMENT:
                parts.append(view[place:end])
        elif end - place - 4 >= _COLOURS.get(content[place + 4 : place + 9], _LONGER):
            parts.append(view[place:end])
        place = end
    else:
        raise BrokenFileError(f"it has more than {MOST_SEGMENTS:,} segments before its pixels")
    if not frame:
        raise NotAnImageError("a JPEG must say its size before its pixels; it does not")
    if in_one and content[place + 4 : place + 5] == in_one:  # all components: decoders refuse a second scan
        scans, ended = [place], content.rfind(END, place) >= 0
    else:
        scans, ended = _scans(content, place)
    exif = b"" if turn in (None, orientation.UPRIGHT) else _segment(b"Exif\0\0" + orientation.write(turn or 1))
    begun = _end(content, place) if content[place : place + 2] == _BEGIN else len(content)
    head = b"".join([content[:2], exif, *parts, view[place:begun]])
    moved = len(head) - min(begun, len(content))
    return ReducedJpeg(head, view[begun:], ended, tuple(scan + moved for scan in scans), frame)


def _scans(content: bytes, place: int) -> tuple[list[int], bool]:
    """Return where the scans begin, from a place on, and whether an end mark follows them.

    Segments between scans are passed over as a decoder does it, because they may hold the bytes of marks.
    """
    scans: list[int] = []
    for _ in range(MOST_SEGMENTS):
        found = _MARK_IN_PIXELS.search(content, place)
        if found is None:
            return scans, False
        place = found.end()
        kind = content[place - 1]
        if kind == _END:
            return scans, True
        if kind == _SCAN:
            scans.append(place - 2)
            if len(scans) > MOST_SCANS:
                raise BrokenFileError(f"it has more than {MOST_SCANS:,} scans")
        place += max(int.from_bytes(content[place : place + 2]), 2)
    raise BrokenFileError(f"it has more than {MOST_SEGMENTS:,} segments between its scans")


def _end(content: bytes, place: int) -> int:
    """Return where the segment ends that begins at a place, by its own length."""
    return place + 2 + int.from_bytes(content[place + 2 : place + 4])


def is_ended(content: bytes) -> bool:
    """Return whether a file is a JPEG with an end mark after its last scan."""
    return content.startswith(MARK) and content.rfind(END) > content.rfind(_BEGIN)


def _turn(segment: memoryview) -> int | None:
    """Return the orientation that EXIF data say, upright if they say none; None for a segment without EXIF data.

    The byte after the segment's name is for padding and may be any.
    """
    return orientation.read(segment[6:]) or orientation.UPRIGHT if bytes(segment[:5]) == b"Exif\0" else None


def _segment(content: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def completed(jpeg: ReducedJpeg, pixels: int) -> bytes:
    """Return a JPEG without an end mark with one, if it has all its pixels; else return it unchanged.

    A decoder makes up pixels that are missing. So it is asked with different bytes in their place: the images are equal
    only if nothing was missing. The second scans of a progressive JPEG are looked for as well.

    Args:
        jpeg: the reduced file.
        pixels: the image's width times its height. Beyond MOST_DECODED, the file is returned unchanged.
    """
    if pixels * len(jpeg.scans) > MOST_DECODED or not _has_all_scans(jpeg):
        return jpeg.content
    file = jpeg.content
    content = file.rstrip(b"\xff")  # half a mark, or what an empty place of a memory card holds
    first = _digest(content + END)
    fillers = (_with_restart(content, jpeg.scans[-1]), *_FILLERS[1:])
    is_whole = first is not None and all(_digest(content + filler + END) == first for filler in fillers)
    return content + END if is_whole else file


def is_whole(jpeg: ReducedJpeg, pixels: int) -> bool:
    """Return whether a JPEG with an end mark has the pixels of its last scan.

    Other bytes before the mark change the image only if something was missing there.

    Args:
        jpeg: the reduced file. One in arithmetic coding counts as whole, because it may leave out zeros at its end.
        pixels: the image's width times its height. Beyond MOST_DECODED, a file counts as whole.
    """
    content = jpeg.content
    end = content.find(END, jpeg.scans[-1]) if jpeg.scans else -1
    if end < 0 or jpeg.frame not in _HUFFMAN or pixels * len(jpeg.scans) > MOST_DECODED:
        return True
    filler = _with_restart(content[:end], jpeg.scans[-1])
    return _digest(content[:end] + filler + content[end:]) == _digest(content)


def _with_restart(content: bytes, scan: int) -> bytes:
    """Return bytes in place of missing ones, with the restart's mark that comes next in the last scan among them.

    Where a mark of a restart is due, a decoder passes over everything up to it.
    """
    marks = _RESTART.findall(content, scan)
    following = (marks[-1][0] - 0xD0 + 1) % 8 if marks else 0
    return _FILLERS[0] + bytes([0xFF, 0xD0 + following]) + _FILLERS[0]


def _digest(content: bytes) -> bytes | None:
    """Return a digest of a JPEG's pixels; None if it can't be decoded."""
    digest = hashlib.blake2b()
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            for top in range(0, image.height, _ROWS):
                digest.update(image.crop((0, top, image.width, min(top + _ROWS, image.height))).tobytes())
    except Exception:  # Pillow raises almost anything
        return None
    return digest.digest()


def _has_all_scans(jpeg: ReducedJpeg) -> bool:
    """Return whether the scans have all bits of all coefficients of all components."""
    left: defaultdict[int, list[int]] = defaultdict(lambda: [255] * _COEFFICIENTS)
    content = jpeg.content
    components = _components(content)
    for place in jpeg.scans:
        scan = content[place + 4 : place + 16]
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
