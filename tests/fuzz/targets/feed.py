"""Any file is a feed, or refused with a reason; each record is a target or reported; none is lost, doubled or cut."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tempfile
from collections.abc import Iterator
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
from fuzz.bounds import bounded

LONGEST = 3000
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
_A, _B = "http://a.example/1", "http://b.example/2"


def _table(**columns: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"url": [_A, None, _B], **columns}), stream, compression="none")
    return stream.getvalue()


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
        ],
        ".tsv": [f"url\tname\n{_A}\tx\n".encode()],
        ".jsonl": [
            f'{{"url": "{_A}", "n": 1.5, "deep": [1, null, {{"x": "\\ud800"}}]}}\n{{"n": NaN}}\n'.encode(),
            f'\ufeff{{"url": "{_B}", "n": 123456789012345678901234567890, "f": 1e400}}'.encode(),
            b'[\n{"url": "x"}\n]\n',
        ],
        ".parquet": [
            _table(),
            _table(n=[1.5, float("nan"), None], d=pa.array([1, 2**40, None], pa.timestamp("s"))),
            _table(m=pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int8())), b=[b"\xff", b"", None]),
        ],
        "": [text.encode(), table.encode()],
        ".csv.gz": [gzip.compress(table.encode()), lzma.compress(table.encode())],
    }
    for suffix, contents in named.items():
        yield from (bytes([SUFFIXES.index(suffix)]) + content for content in contents)


SEEDS = list(_seeds())


def layer(data: bytes, chance: Random) -> layers.Layer | None:
    """Take the content apart, and leave the first byte."""
    found = layers.of_parquet(data[1:], chance) or layers.of_packed(data[1:], chance)
    return found and (found[0], lambda changed: data[:1] + found[1](changed))


def check(data: bytes) -> None:
    """Read the bytes as a file of a feed, whole, once more, and cut into pieces."""
    suffix, content = SUFFIXES[(data[:1] or b"\0")[0] % len(SUFFIXES)], data[1:]
    with tempfile.TemporaryDirectory(prefix="windrow-fuzz-") as folder:
        path = Path(folder) / f"feed{suffix}"
        path.write_bytes(content)
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
    for piece in pieces:
        for share in (0.2, 0.5, 0.9):
            cut = int(piece.end * share)
            halves = [replace(piece, end=cut), replace(piece, start=cut)]
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
