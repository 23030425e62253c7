"""Open a feed's file as UTF-8 bytes, however it is packed and encoded.

    with opened(path, FileForm(TEXT, packing="gzip", encoding="utf-16")) as file: ...

A packed or differently encoded file is unpacked and converted while it is read, so that memory does not depend on its
size.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import pyarrow as pa

from windrow.scoring.feed.feed_reports import FeedFileError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

TEXT, CSV, JSON_LINES, PARQUET = "text", "csv", "json_lines", "parquet"
DOUBLED, ESCAPED, PLAIN = "doubled", "escaped", "plain"

DOS_END = b"\x1a"
"""What some programs of DOS and Windows write at the end of a text; it is no data."""

COMMENT = "#"
"""What a line of a text begins with that is none of its data; no URL begins so."""

BYTE_ORDER_MARK = "\ufeff"
"""What some programs write at the beginning of a text, and joined files have elsewhere as well; it is no data."""

UNPACKED_BYTES = 16 << 30
"""The most bytes that a packed file may hold: some 200 million URLs, minutes of unpacking."""

XZ_DICTIONARY_BYTES = 256 << 20
"""The largest dictionary of an xz file; xz -9 writes 64 MiB. Unpacking takes as much memory."""

_CHUNK_BYTES = 1 << 18
_XZ_MEMORY_BYTES = XZ_DICTIONARY_BYTES + (16 << 20)
_PACKED_BYTES = 1 << 13  # what is left of them is copied after each stream, and streams may be tiny
_HEAD_BYTES = 1 << 20
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
# The marks of UTF-32 come first: that of UTF-16 is the beginning of one of them.
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"} | {
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DECOMPRESSORS: dict[str, Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]] = {
    "bz2": bz2.BZ2Decompressor,
    "xz": partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, _XZ_MEMORY_BYTES),
}
_PLAIN_URL, _URL_BYTES = re.compile(rb"https?://", re.IGNORECASE), len("https://")
_WIDE_URL = re.compile(rb"h\0t\0t\0p\0(?:s\0)?:\0/\0/", re.IGNORECASE)  # in UTF-16, of either byte order
_WIDE_URL_BYTES = 2 * len("https://")
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)


@dataclass(frozen=True)
class FileForm:
    """How a file is written; all of it follows from the file's content, and its name where the content leaves it open.

    Attributes:
        kind: text, csv, json_lines or parquet.
        packing: gzip, bz2, xz or zstd; empty if the file is not packed.
        encoding: utf-8, or utf-16 or utf-32 after a byte order mark; empty for bytes as they are.
        delimiter: the character between the fields of a CSV.
        quoting: how a CSV writes a quote inside quotes: doubled, escaped with a backslash, or plain if nothing in it
            is quoted.
        columns: the names of a CSV's columns.
        before: the records of a CSV before its first row: the header, and Excel's line `sep=`.
    """

    kind: str
    packing: str = ""
    encoding: str = "utf-8"
    delimiter: str = ","
    quoting: str = DOUBLED
    columns: tuple[str, ...] = ()
    before: int = 0

    @property
    def bare(self) -> bool:
        """Whether the file's bytes are the UTF-8 bytes of its lines, so that it can be read from any of its places."""
        return not self.packing and self.encoding == "utf-8"


@contextmanager
def opened(path: Path, form: FileForm, end: int | None = None) -> Iterator[io.BufferedReader]:
    """Open a file's UTF-8 bytes, without a byte order mark unless it is that of UTF-8.

    Args:
        path: the file.
        form: its packing and encoding.
        end: read only so many bytes of the file; all if None, or if the file is packed.

    Raises:
        FeedFileError: also while reading: the file can't be read or unpacked, or its encoding is broken.
    """
    with _stream(path, form.packing) as stream:
        chunks = _chunks(path, stream, UNPACKED_BYTES if form.packing else end, bool(form.packing))
        if form.encoding:
            read = _of_one_encoding if form.encoding == "utf-8" else partial(_converted, encoding=form.encoding)
            chunks = read(path, chunks)
        with io.BufferedReader(_Raw(chunks), _CHUNK_BYTES) as file:
            yield cast("io.BufferedReader", file)


def head(path: Path, form: FileForm) -> bytes:
    """Return the first MiB of a file, unpacked and as UTF-8."""
    with opened(path, form) as file:
        return file.read(_HEAD_BYTES)


def drain(path: Path, form: FileForm) -> None:
    """Read a packed or converted file to its end, to find out whether it is whole.

    Raises:
        FeedFileError: it is not.
    """
    with opened(path, form) as file:
        while file.read(_CHUNK_BYTES):
            pass


def packing(beginning: bytes) -> str:
    """Return the packing that a file's first bytes show; empty for none."""
    return next((name for magic, name in _MAGIC.items() if beginning.startswith(magic)), "")


def encoding(beginning: bytes) -> str:
    """Return the encoding that a byte order mark shows; UTF-8 without one."""
    return next((name for mark, name in _MARKS.items() if beginning.startswith(mark)), "utf-8")


def _stream(path: Path, packing: str) -> IO[bytes]:
    try:
        if packing == "gzip":
            return cast("IO[bytes]", gzip.open(path))
        if packing in _DECOMPRESSORS:
            return cast("IO[bytes]", _Raw(_unpacked(path, _DECOMPRESSORS[packing])))
        if packing == "zstd":
            return pa.input_stream(str(path), compression="zstd")  # type: ignore[no-any-return]
        return path.open("rb", buffering=0)
    except _BROKEN as error:
        raise unreadable(path, error) from error


def _unpacked(path: Path, new: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> Iterator[bytes]:
    """Yield what a file's packed streams hold, one after the other; only zero bytes may follow a stream.

    Python's own readers ignore whatever follows a stream and does not begin another one, also one that is broken.
    """
    with path.open("rb") as file:
        one, packed = new(), b""
        while True:
            if one.eof:
                packed = one.unused_data.lstrip(b"\0")
                while not packed:
                    if not (packed := file.read(_PACKED_BYTES)):
                        return
                    packed = packed.lstrip(b"\0")
                one = new()
            elif one.needs_input and not (packed := file.read(_PACKED_BYTES)):
                raise EOFError("it ends before its packed data do")
            if chunk := one.decompress(packed, _CHUNK_BYTES):
                yield chunk
            packed = b""


def _chunks(path: Path, stream: IO[bytes], most: int | None, packed: bool) -> Iterator[bytes]:
    """Yield up to `most` bytes of a stream; a packed file with more is refused."""
    read = 0
    while most is None or read < most or packed:
        wanted = _CHUNK_BYTES if most is None or packed else min(_CHUNK_BYTES, most - read)
        try:
            chunk = stream.read(wanted)
        except _BROKEN as error:
            raise unreadable(path, error) from error
        if not chunk:
            return
        read += len(chunk)
        if packed and most is not None and read > most:
            raise FeedFileError(path, f"a packed file must hold at most {most:,} bytes; got more; split it")
        yield chunk


def _of_one_encoding(path: Path, chunks: Iterator[bytes]) -> Iterator[bytes]:
    end = b""
    for chunk in chunks:
        if b"\0" in chunk:
            check_encoding(path, end[-_WIDE_URL_BYTES:] + chunk)
        end = chunk
        yield chunk


def check_encoding(path: Path, text: bytes) -> None:
    """Refuse UTF-8 text with a URL in UTF-16 in it.

    Raises:
        FeedFileError: it has one.
    """
    if b"\0" in text and _WIDE_URL.search(text):
        reason = "a file must be in one encoding to its end; got a URL in UTF-16 without a byte order mark at the"
        raise FeedFileError(path, f"{reason} file's beginning, as >> appends it; write it again in UTF-8")


def _converted(path: Path, chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder, read, end = codecs.getincrementaldecoder(encoding)(), 0, b""
    try:
        for chunk in chunks:
            end = end[-_URL_BYTES:] + chunk
            if _PLAIN_URL.search(end):
                name = encoding.upper()
                reason = f"a file in {name} must be in it to its end; got plain bytes with a URL, as >> appends them"
                raise FeedFileError(path, f"{reason}; write it again")
            if text := decoder.decode(chunk):
                yield text.encode()
            read += len(chunk)
        decoder.decode(b"", final=True)
    except UnicodeError as error:
        name = encoding.upper()
        raise FeedFileError(
            path, f"a file that begins with the byte order mark of {name} must be whole {name}; {error}; write it again"
        ) from error


def unreadable(path: Path, error: Exception) -> FeedFileError:
    """Return the error for a file that the system or a library can't read."""
    if isinstance(error, lzma.LZMAError) and "Memory" in str(error):
        most = f"an xz file's dictionary must have at most {XZ_DICTIONARY_BYTES:,} bytes"
        return FeedFileError(path, f"{most}; got more; pack it with xz -9 at most")
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    cure = "let the job's user read it" if isinstance(error, PermissionError) else "write it again"
    return FeedFileError(path, f"a feed's file must be readable and whole; {reason}; {cure}")


class _Raw(io.RawIOBase):
    """Makes a file of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        target = memoryview(buffer)
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
