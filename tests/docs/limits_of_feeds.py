"""What a feed's readers take, by size, for the rows of docs/limits.md."""

from __future__ import annotations

import contextlib
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pyarrow as pa
from windrow.scoring.feed import arrow_json, carried, file_bytes, file_forms, parquet_rows
from windrow.scoring.feed.feed_reports import FeedFileError, feed_fault

URL = "http://a.example/"


def is_json(text: str, most: int = carried.LINE_BYTES) -> bool:
    try:
        carried.parse(text, whole=len(text) <= most)
    except carried.RecordError:
        return False
    return True


def is_number(digits: int) -> bool:
    """Whether an integer of so many digits is carried as one."""
    return isinstance(carried.parse('{"x": ' + "1" * digits + "}")["x"], int)


def is_feed(file: Path, content: bytes) -> bool:
    """Whether a file is read, or refused because it is too large in some way."""
    file.write_bytes(content)
    try:
        file_forms.find(file, len(content))
    except FeedFileError as error:
        assert "at most" in str(error) or "first" in str(error), error  # noqa: PT017  no other reason
        return False
    return True


def csv_record(characters: int) -> bytes:
    return f"url,x\n{URL},".encode() + b"y" * (characters - len(URL) - 2) + b"\n"


def csv_lines(lines: int) -> bytes:
    return f'url,x\n{URL},"'.encode() + b"y\n" * (lines - 1) + b'"\n'


def columns(count: int) -> bytes:
    names = ["url", *(f"c{number}" for number in range(count - 1))]
    return f"{','.join(names)}\n{URL}{',' * (count - 1)}\n".encode()


def holds_value(size: int) -> bool:
    return arrow_json.texts(pa.array(["x" * size])) != ["null"]


class Claims(bytes):
    """Bytes that claim to be more than they are."""

    size = 0

    def __len__(self) -> int:
        return self.size


def unpacks_xz(file: Path, dictionary: int) -> bool:
    """Whether an xz file is read whose header asks for a dictionary of so many bytes, or the next size that it has."""
    content = bytearray(lzma.compress(b"http://a/1\n"))
    begin = 12  # of the block's header, after the stream's
    end = begin + 4 * (content[begin] + 1)
    place = content.index(b"\x21\x01", begin, end) + 2  # after LZMA2's number and the length of what it needs
    content[place] = next(code for code in range(40) if (2 | code & 1) << (code // 2 + 11) >= dictionary)
    content[end - 4 : end] = zlib.crc32(content[begin : end - 4]).to_bytes(4, "little")
    return is_feed(file.with_suffix(".txt.xz"), bytes(content))


def unpacks(size: int) -> bool:
    """Whether a packed file of so many bytes is read; none that large is made."""

    def reads() -> Iterator[bytes]:
        for part in (size - 1, 1):
            chunk = Claims(b"x")
            chunk.size = part
            yield chunk
        yield b""

    chunks = reads()
    stream = cast("Any", SimpleNamespace(read=lambda _: next(chunks)))
    try:
        return len(list(file_bytes._chunks(Path("a"), stream, file_bytes.UNPACKED_BYTES, packed=True))) == 2
    except FeedFileError:
        return False


def is_row_group(size: int) -> bool:
    """Whether a row group that its footer calls so large is read."""
    group = SimpleNamespace(total_byte_size=size, num_rows=1)
    file = SimpleNamespace(
        schema_arrow=pa.schema([("url", pa.string())]),
        metadata=SimpleNamespace(row_group=lambda _: group),
        num_row_groups=1,
    )
    with mock.patch.object(parquet_rows, "opened", return_value=contextlib.nullcontext(file)):
        try:
            return parquet_rows.groups(Path("a")) == [1]
        except FeedFileError:
            return False


def is_named(place: int) -> bool:
    return (
        len(feed_fault(Path("a"), "x" * place).reason) == place and "…" not in feed_fault(Path("a"), "x" * place).reason
    )
