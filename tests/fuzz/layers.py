"""Change a part of a file, and keep what the file says about the part: its length, its checksum, its packing.

A changed byte of a PNG breaks a checksum, and one of a packed file breaks the packing, so that readers stop there. A
target names a function of this module, or one of its own, as `layer`: it takes a file and a source of chance, and
returns a part of the file and what puts a changed part into it; None for a file that it can't take apart.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random

import pyarrow as pa
from windrow.data.image_files import gif_file, jpeg_file, png_file, webp_file
from windrow.scoring.feed import file_bytes

Layer = tuple[bytes, Callable[[bytes], bytes]]
"""A part of a file, and the function that returns the file with another part in its place."""

Named = list[tuple[bytes, bytes]]
"""The parts of a file: the name and the content of each."""

LARGEST = 1 << 16
"""The most bytes of a part that was packed."""

_BROKEN = (ValueError, IndexError, EOFError, OSError, struct.error, zlib.error, lzma.LZMAError, pa.ArrowException)
_CHUNKS = b"IHDR PLTE IDAT IEND tRNS eXIf iCCP gAMA sBIT bKGD acTL fcTL fdAT tEXt zTXt iTXt pHYs".split()
_SEGMENTS = bytes((0xC0, 0xC1, 0xC2, 0xC4, 0xC8, 0xC9, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE))
_WEBP_CHUNKS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"XMP ", b"ICCP")
_MARK = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
_SCAN, _END, _ALONE = 0xDA, 0xD9, (0x01, *range(0xD0, 0xD9))
_EXTENSION, _PICTURE = 0x21, 0x2C
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda content: gzip.compress(content, 1, mtime=0),
    "bz2": lambda content: bz2.compress(content, 1),
    "xz": lambda content: lzma.compress(content, preset=0),
    "zstd": lambda content: pa.Codec("zstd").compress(content, asbytes=True),
}
_ENCODINGS = ("utf-16", "utf-32", "utf-8-sig")


def of_image(content: bytes, chance: Random) -> Layer | None:
    """Take an image file apart: a chunk of a PNG or WebP, a segment of a JPEG, a block of a GIF, or a PNG's pixels."""
    with suppress(*_BROKEN):
        if content.startswith(png_file.MARK):
            return _pixels(content) if chance.random() < 0.3 else _png(content, chance)
        if content.startswith(jpeg_file.MARK):
            return _one(_segments(content), [bytes([kind]) for kind in _SEGMENTS], _jpeg_of, chance)
        if content.startswith(gif_file.MARKS):
            return _gif(content, chance)
        if webp_file.is_webp(content):
            return _one(_chunks(content, 12, "<4sI", padded=True), _WEBP_CHUNKS, _webp_of, chance)
    return None


def of_packed(content: bytes, chance: Random) -> Layer | None:
    """Unpack a file, or convert it to UTF-8; rarely pack a plain one, or put it into another encoding."""
    with suppress(*_BROKEN):
        if packing := file_bytes.packing(content):
            return unpacked(content, packing), PACKINGS[packing]
        if (encoding := file_bytes.encoding(content)) != "utf-8":
            return content.decode(encoding).encode(), lambda changed: _encoded(changed, encoding)
        if chance.random() < 0.02:
            return content, chance.choice(list(PACKINGS.values()))
        if chance.random() < 0.02:
            wanted = chance.choice(_ENCODINGS)
            return content, lambda changed: _encoded(changed, wanted)
    return None


def of_parquet(content: bytes, chance: Random) -> Layer | None:
    """Take a Parquet file's footer, or what is before it."""
    if len(content) < 12 or not content.startswith(b"PAR1") or not content.endswith(b"PAR1"):
        return None
    start = len(content) - 8 - struct.unpack_from("<I", content, len(content) - 8)[0]
    if start < 4:
        return None
    if chance.random() < 0.3:
        return content[4:start], lambda changed: b"PAR1" + changed + content[start:]
    return content[start:-8], lambda changed: content[:start] + changed + struct.pack("<I", len(changed)) + b"PAR1"


def of_archive(content: bytes, chance: Random) -> Layer | None:
    """Take a member of a ZIP, its name or its header, or a header or the content of a tar; unpack a packed tar."""
    with suppress(*_BROKEN, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        if content.startswith(b"PK"):
            return _zip(content, chance)
        if packing := file_bytes.packing(content):
            inner = unpacked(content, packing)
            found = _tar(inner, chance) if chance.random() < 0.8 else None
            part, whole = found or (inner, bytes)
            return part, lambda changed: PACKINGS[packing](whole(changed))
        return _tar(content, chance)
    return None


def _zip(content: bytes, chance: Random) -> Layer | None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    place = chance.randrange(len(members))
    named = chance.random() < 0.4

    def whole(changed: bytes) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for number, (info, data) in enumerate(members):
                is_changed = number == place
                name = changed.decode("utf-8", "replace") if is_changed and named else info.filename
                new = zipfile.ZipInfo(name)
                new.compress_type = info.compress_type
                archive.writestr(new, changed if is_changed and not named else data)
        return stream.getvalue()

    return members[place][0].filename.encode("utf-8", "replace") if named else members[place][1], whole


def _tar(content: bytes, chance: Random) -> Layer | None:
    """Take one block of 512 bytes, and give a header the right checksum."""
    place = chance.randrange(max(1, len(content) // 512)) * 512
    block, rest = content[place : place + 512], content[place + 512 :]
    if block[257:262] != b"ustar":
        return block, lambda changed: content[:place] + changed + rest

    def whole(changed: bytes) -> bytes:
        header = changed[:512].ljust(512, b"\0")
        header = header[:148] + b" " * 8 + header[156:]
        return content[:place] + header[:148] + b"%06o\0 " % sum(header) + header[156:] + rest

    return block, whole


def unpacked(content: bytes, packing: str) -> bytes:
    """Return what a packed file's first stream holds, up to LARGEST bytes.

    Raises:
        ValueError, EOFError, OSError, zlib.error, lzma.LZMAError: it is broken.
    """
    if packing == "gzip":
        return zlib.decompressobj(31).decompress(content, LARGEST)
    if packing == "zstd":
        with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
            return bytes(stream.read(LARGEST))
    return {"bz2": bz2.BZ2Decompressor, "xz": lzma.LZMADecompressor}[packing]().decompress(content, LARGEST)


def _encoded(content: bytes, encoding: str) -> bytes:
    return content.decode("utf-8", "replace").encode(encoding)


def _one(parts: Named, names: Sequence[bytes], whole: Callable[[Named], bytes], chance: Random) -> Layer | None:
    """Take one of the parts: in its place or moved, alone or doubled, and sometimes under another name."""
    if not parts:
        return None
    place = chance.randrange(len(parts))
    name, content = parts[place]
    others = parts if chance.random() < 0.2 else [*parts[:place], *parts[place + 1 :]]
    to = place if chance.random() < 0.6 else chance.randrange(len(others) + 1)
    name = chance.choice(names) if name and chance.random() < 0.1 else name
    return content, lambda changed: whole([*others[:to], (name, changed), *others[to:]])


def _chunks(content: bytes, place: int, form: str, padded: bool) -> Named:
    """Return the chunks of a file, each a name and a length in either order, from a place on."""
    found = []
    while place + 8 <= len(content):
        first, second = struct.unpack_from(form, content, place)
        name, length = (first, second) if padded else (second, first)
        found.append((name, content[place + 8 : place + 8 + length]))
        place += 8 + length + (length & 1 if padded else 4)
    return found


def _png(content: bytes, chance: Random) -> Layer | None:
    return _one(_chunks(content, len(png_file.MARK), ">I4s", padded=False), _CHUNKS, _png_of, chance)


def _png_of(parts: Named) -> bytes:
    checked = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return png_file.MARK + b"".join(checked)


def _pixels(content: bytes) -> Layer:
    """Take the pixels of a PNG, unpacked, each row after the byte with its filter."""
    parts = _chunks(content, len(png_file.MARK), ">I4s", padded=False)
    first = next(place for place, (name, _) in enumerate([*parts, (b"IDAT", b"")]) if name == b"IDAT")
    rest = [part for part in parts[first:] if part[0] != b"IDAT"]
    packed = b"".join(data for name, data in parts if name == b"IDAT")
    rows = zlib.decompressobj().decompress(packed, LARGEST)
    return rows, lambda changed: _png_of([*parts[:first], (b"IDAT", zlib.compress(changed)), *rest])


def _segments(content: bytes) -> Named:
    """Return the segments of a JPEG by their mark; what is between them has no name."""
    found, place = [], 2
    while (mark := _MARK.search(content, place)) is not None:
        if mark.start() > place:
            found.append((b"", content[place : mark.start()]))
        kind = content[mark.start() + 1]
        end = mark.end() if kind in (_END, *_ALONE) else mark.end() + max(2, int.from_bytes(content[mark.end() :][:2]))
        found.append((bytes([kind]), content[mark.end() + 2 : end]))
        place = end
    return [*found, (b"", content[place:])]


def _jpeg_of(parts: Named) -> bytes:
    found = [b"\xff\xd8"]
    for name, data in parts:
        if not name:
            found.append(data)
        elif name[0] in (_END, *_ALONE):
            found.append(b"\xff" + name + data)
        else:
            found.append(b"\xff" + name + struct.pack(">H", (len(data) + 2) & 0xFFFF) + data)
    return b"".join(found)


def _webp_of(parts: Named) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1) for name, data in parts)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def gif_parts(content: bytes) -> tuple[int, Named, int]:
    """Return where the blocks of a GIF begin, the blocks with their lengths taken out, and where they end."""
    start = 13 + (3 << ((content[10] & 7) + 1) if content[10] & 0x80 else 0)
    parts, place = [], start
    while place < len(content) and content[place] in (_EXTENSION, _PICTURE):
        begin, place = place, place + (2 if content[place] == _EXTENSION else 11)
        if content[begin] == _PICTURE and content[begin + 9] & 0x80:
            place += 3 << ((content[begin + 9] & 7) + 1)
        name, data = content[begin:place], b""
        while place < len(content) and (length := content[place]):
            data += content[place + 1 : place + 1 + length]
            place += 1 + length
        parts.append((name, data))
        place += 1
    return start, parts, place


def _gif(content: bytes, chance: Random) -> Layer | None:
    start, parts, end = gif_parts(content)

    def whole(changed: Named) -> bytes:
        blocks = b"".join(name + _blocks(data) for name, data in changed)
        return content[:start] + blocks + content[end:]

    return _one(parts, [name for name, _ in parts] + [b"\x21\xf9", b"\x21\xfe", b"\x21\xff"], whole, chance)


def _blocks(data: bytes) -> bytes:
    """Return data as blocks of at most 255 bytes, each after its length, and the empty one that ends them."""
    parts = [data[place : place + 255] for place in range(0, len(data), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
