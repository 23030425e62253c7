"""Any file is a feed, or refused with a reason; each record is a target or reported; none is lost, doubled or cut."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from windrow.scoring.feed import file_forms, formats, known_keys, new_urls
from windrow.scoring.feed.feed_reports import FeedFault, FeedFileError, PieceReport
from windrow.scoring.feed.formats import Piece
from windrow.scoring.fetch.urls import Target

from fuzz import layers
from fuzz.bounds import bounded, lowered

LONGEST = 5000
SUFFIXES = [".txt", ".csv", ".tsv", ".jsonl", ".parquet", "", ".csv.gz"]
"""What a file is called by its first byte; the rest is its content."""
TOKENS = [
    *(
        "url",
        "http://a.example/",
        "http://a.example/b,c;d",
        ",",
        ";",
        "\t",
        "|",
        "\x01",
        '"',
        '""',
        '\\"',
        "\\",
        "\\N",
        "\r",
    ),
    *(
        "\n",
        "\r\n",
        "\0",
        "\ufeff",
        "sep=;",
        "url,shop\n",
        '{"url": "',
        '"}',
        '{"url": null}',
        "NaN",
        "Infinity",
        "1e999",
    ),
    *(
        "\\ud800",
        "[",
        "{",
        "null",
        "PAR1",
        "url_",
        "URL",
        "\u2028",
        "\x85",
        "\x0c",
        "\x1a",
        "é",
        "9999999999999999999999",
    ),
]
_LOW = {
    "windrow.scoring.feed.file_bytes.UNPACKED_BYTES": 1500,
    "windrow.scoring.feed.file_bytes._CHUNK_BYTES": 16,
    "windrow.scoring.feed.file_bytes._PACKED_BYTES": 7,
    "windrow.scoring.feed.file_bytes._HEAD_BYTES": 256,
    "windrow.scoring.feed.carried.LINE_BYTES": 256,
    "windrow.scoring.feed.csv_records.RECORD_CHARACTERS": 256,
    "windrow.scoring.feed.csv_records.RECORD_LINES": 4,
    "windrow.scoring.feed.csv_dialects.COLUMNS": 8,
    "windrow.scoring.feed.file_forms.SAMPLE": 6,
    "windrow.scoring.feed.formats._PIECE_BYTES": 100,
    "windrow.scoring.feed.formats._CHUNK_BYTES": 16,
    "windrow.scoring.feed.parquet_rows._BATCH_ROWS": 2,
    "windrow.scoring.feed.arrow_json.VALUE_BYTES": 40,
    "windrow.scoring.fetch.urls.MAX_BYTES": 120,
}
_LOWERED = 0x80
"""The bit of the first byte with which the limits are low."""
_A, _B = "http://a.example/1", "http://b.example/2"


def _table(*more: pa.Array, names: Sequence[str] = (), **columns: Any) -> bytes:
    stream, urls = io.BytesIO(), pa.array([_A, None, _B])
    arrays = [urls, *more, *(each if isinstance(each, pa.Array) else pa.array(each) for each in columns.values())]
    pq.write_table(pa.Table.from_arrays(arrays, ["url", *names, *columns]), stream, compression="none")
    return stream.getvalue()


def _columns() -> Iterator[dict[str, pa.Array]]:
    """Yield columns of many types, a few at a time."""
    plain = [
        *(pa.int8(), pa.uint64(), pa.float32(), pa.date32(), pa.date64(), pa.time32("ms"), pa.time64("ns")),
        *(pa.timestamp("ns", "UTC"), pa.timestamp("us"), pa.duration("us")),
    ]
    for start in range(0, len(plain), 4):
        yield {f"c{place}": pa.array([0, 1, None], kind) for place, kind in enumerate(plain[start : start + 4])}
    texts = pa.array(["a", "bc", None])
    yield {"b": pa.array([True, False, None]), "t": texts.cast(pa.large_string()), "n": pa.nulls(3)}
    yield {"d": pa.array([1, 2**62, None], pa.decimal128(38, 3)), "h": pa.array(np.arange(3, dtype=np.float16))}
    yield {"s": pa.array([{"a": 1, "b": "x"}, None, {}]), "l": pa.array([[1.5, None], [], None])}
    yield {"c": texts.dictionary_encode(), "f": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2))}
    yield {"f": pa.array([b"ab", None, b"cd"], pa.binary(2)), "u": pa.array([b"x" * 16, None, None], pa.uuid())}
    yield {f"c{place}": pa.nulls(3) for place in range(8)}


def _seeds() -> Iterator[bytes]:
    text, table = f"{_A}\n\n{_B}\r\nno url\n", f'shop,url\n1,{_A}\n"two\n""lines""",{_B}\n'
    named = {
        ".txt": [text.encode(), text.encode("utf-16"), gzip.compress(text.encode()), bz2.compress(text.encode())],
        ".csv": [
            table.encode(),
            b"\xef\xbb\xbfsep=;\r\nurl;n\r\n" + f"{_A};1\r\n".encode(),
            f'url,"a,b"\n{_A},"x \\" y"\n'.encode(),
            f"{_A}\t\\N\n{_B}\tcaf\xe9\n".encode("latin-1"),
            f'url,n\n{_A},"never closed\n{_B},2\n'.encode(),
            f"{_A}\x01one\x01\\N\n".encode(),
            f"url,b,c,d,e,f,g,h,i\n{_A},,,,,,,,\n".encode(),
            f'url\tn\n{_A}\t"x\n{_B}\t"y"\n'.encode(),
            f'n,url,m\n"1,{_A},2\n3,{_B},4",{_A},5\n'.encode(),
            f'url,n\n{_A},"{chr(10).join("xxxxxx")}"\n'.encode(),
        ],
        ".tsv": [f"url\tname\n{_A}\tx\n".encode()],
        ".jsonl": [
            f'{{"url": "{_A}", "n": 1.5, "deep": [1, null, {{"x": "\\ud800"}}]}}\n{{"n": NaN}}\n'.encode(),
            f'\ufeff{{"url": "{_B}", "n": 123456789012345678901234567890, "f": 1e400}}'.encode(),
            b'[\n{"url": "x"}\n]\n',
            f'{{"url": "{_A}"}}\n{{"url": "{_B}", "deep": {"[" * 101}{"]" * 101}}}\n{{"url": "\\ud800"}}\n'.encode(),
            f'{{"url": "{_A}"}}\n{{"url": "{_B}", "long": "{"x" * 300}"}}\r{{"url": ""}}\r\n'.encode(),
        ],
        ".parquet": [
            _table(),
            _table(n=[1.5, float("nan"), None], d=pa.array([1, 2**40, None], pa.timestamp("s"))),
            _table(long=["x" * 50, b"y" * 50, None]),
            _table(pa.array([1, 2, 3]), pa.array(["a", "b", None]), names=["url", "x"]),
            *(_table(**columns) for columns in _columns()),
            _table(m=pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int8())), b=[b"\xff", b"", None]),
        ],
        "": [
            *(
                text.encode(),
                table.encode(),
                b"<html>",
                b"[1]",
                b"PK\3\4",
                gzip.compress(b"PAR1"),
                b"\xff\xfeh\0http://a",
            ),
            *(gzip.compress(text.encode()) * 2 + bytes(9), bz2.compress(text.encode()) * 2 + bytes(9)),
            *(lzma.compress(text.encode()) * 2 + bytes(8), pa.Codec("zstd").compress(text.encode(), asbytes=True)),
            *(codec.encode() for codec in (f"{_A}\r{_B}\r\r\n\x1a", f"{_A}?{'x' * 300}\n{_B}")),
            *(f"\ufeff{text}".encode(encoding) for encoding in ("utf-16-be", "utf-32-le", "utf-32-be")),
        ],
        ".csv.gz": [gzip.compress(table.encode()), lzma.compress(table.encode())],
    }
    for suffix, contents in named.items():
        for content in contents:
            yield from (bytes([SUFFIXES.index(suffix) | low]) + content for low in (0, _LOWERED))


SEEDS = list(_seeds())


def layer(data: bytes, chance: Random) -> layers.Layer | None:
    """Take the content apart, and leave the first byte."""
    found = layers.of_parquet(data[1:], chance) or layers.of_packed(data[1:], chance)
    return found and (found[0], lambda changed: data[:1] + found[1](changed))


def check(data: bytes) -> None:
    """Read the bytes as a file of a feed, whole, once more, and cut into pieces."""
    first, content = (data[:1] or b"\0")[0], data[1:]
    suffix = SUFFIXES[(first & ~_LOWERED) % len(SUFFIXES)]
    with tempfile.TemporaryDirectory(prefix="windrow-fuzz-") as folder:
        path = Path(folder) / f"feed{suffix}"
        path.write_bytes(content)
        with lowered(_LOW, bool(first & _LOWERED)):
            _check(path, len(content))


def _check(path: Path, size: int) -> None:
    with bounded(mebibytes=200, seconds=10):
        try:
            form, records = file_forms.find(path, size)
            pieces = formats.pieces(path, form, 0, size, records)
        except FeedFileError as error:
            _check_fault(error.fault)
            return
        targets, report = _read(pieces)
    assert (targets, report) == _read(pieces), "another reading gives another result"
    assert report.records == len(targets) + report.without_url, report
    assert records is None or report.fault is not None or records == report.records, (records, report)
    found = new_urls.read_here(pieces, np.empty(0, known_keys.DTYPE)) if pieces else None
    if found is not None:
        found.check()
        assert found.new == len({target.url_key for target in targets})
    if form.kind in formats.CONTINUED and form.bare:
        _check_cut(pieces, targets)


def _read(pieces: list[Piece]) -> tuple[list[Target], PieceReport]:
    whole, targets = PieceReport(), []
    for piece in (Piece.from_json(each.to_json()) for each in pieces):
        report = PieceReport()
        for target in formats.targets(piece, report):
            _check_target(target)
            targets.append(target)
        assert PieceReport.from_json(report.to_json()) == report
        for each in (*report.examples, *report.notes, *([report.fault] if report.fault else [])):
            _check_fault(each)
        whole.records += report.records
        whole.without_url += report.without_url
        whole.fault = whole.fault or report.fault
    return targets, whole


def _check_cut(pieces: list[Piece], targets: list[Target]) -> None:
    """Cut a file of lines in two, at a few places: the targets stay the same."""
    size = pieces[-1].end if pieces else 0
    for share in (0, 0.2, 0.5, 0.9):
        cut = int(size * share)
        halves = [replace(pieces[0], end=cut), replace(pieces[0], start=cut, end=size)] if pieces else []
        assert _read([each for each in halves if each.start < each.end])[0] == targets, cut


def _check_target(target: Target) -> None:
    assert (target.address is None) == (target.status is not None) == bool(target.error), target
    assert len(target.url_key) == 64
    for text in (target.url, target.error, target.extra, target.address):
        (text or "").encode()
    if target.extra is not None:
        assert "\n" not in target.extra
        assert isinstance(json.loads(target.extra, parse_constant=_refuse), dict)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def _check_fault(found: FeedFault) -> None:
    str(found).encode()
    assert found.reason.isprintable(), found
    assert found.line is None or found.line >= 1
