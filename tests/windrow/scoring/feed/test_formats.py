"""The formats: every line and record is a target, whatever it holds; pieces of a file give the same as the whole."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.feed import file_forms, formats
from windrow.scoring.feed.feed_reports import FeedFileError, PieceReport, total
from windrow.scoring.feed.file_bytes import TEXT, FileForm
from windrow.scoring.feed.formats import Piece
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.urls import Target

A, B = "http://example.com/a", "http://example.com/b"


def read(path: Path) -> list[Target]:
    return [target for piece in pieces(path) for target in formats.targets(piece)]


def pieces(path: Path) -> list[Piece]:
    """The pieces of a whole file, as a run makes them."""
    size = path.stat().st_size
    form, records = file_forms.find(path, size)
    return formats.pieces(path, form, 0, size, records)


def report(path: Path) -> PieceReport:
    """What reading a whole file reports."""
    reports = [PieceReport() for _ in pieces(path)]
    for piece, each in zip(pieces(path), reports, strict=True):
        list(formats.targets(piece, each))
    return total(reports)


def extras(path: Path) -> dict[str, object]:
    return {target.url: json.loads(target.extra or "null") for target in read(path)}


def test_a_csv_carries_its_other_columns_as_text(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    records = b'1,http://example.com/a,"two\nlines, and ""quotes"""\r\n\r\n2,http://example.com/b,\r\n'
    path.write_bytes(b"\xef\xbb\xbfshop,url,note\r\n" + records)
    assert extras(path) == {A: {"shop": "1", "note": 'two\nlines, and "quotes"'}, B: {"shop": "2", "note": ""}}


def test_json_lines_carry_whatever_json_has(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl"
    others = {"n": 1.5, "deep": {"list": [1, None, "ä\U0001f600"]}, "ok": True}
    path.write_text(json.dumps({"url": A, **others}) + "\n\n" + json.dumps({"url": B}))
    assert extras(path) == {A: others, B: None}


def test_parquet_carries_bytes_dates_and_decimals_as_text_and_nan_as_null(tmp_path: Path) -> None:
    path = tmp_path / "feed.parquet"
    when = datetime(2026, 11, 24, tzinfo=UTC)
    row = {"url": A, "raw": b"\x00\xff", "when": when, "price": Decimal("1.50"), "share": float("nan"), "id": 2**62}
    pq.write_table(pa.Table.from_pylist([row, {"url": B}]), path, row_group_size=1)
    assert len(pieces(path)) == 2
    assert extras(path)[A] == {"raw": "AP8=", "when": str(when), "price": "1.50", "share": None, "id": 2**62}


@pytest.mark.parametrize(
    ("name", "content", "line", "reason"),
    [
        ("a.csv", 'url,shop\nhttp://a/,"6\n"\n,7\n', 4, "a record must have a url; got none"),
        ("a.tsv", "url\tshop\nhttp://a/\t6\n\\N\t7\n", 3, "a record must have a url; got none"),
        ("a.jsonl", '{"url": "http://a/"}\n{"shop": 7}\n', 2, "a record must have a url; got none"),
        *(
            (
                "a.jsonl",
                f'{{"url": "http://a/"}}\n{{"url": {value}}}\n',
                2,
                f"a url must be text; got a value of type {kind}",
            )
            for value, kind in [("NaN", "float"), ("1.5", "float"), ("7", "int"), ("true", "bool"), ("false", "bool")]
        ),
        (
            "a.jsonl",
            '{"url": "http://a/"}\n{"url": ["http://b/"]}\n',
            2,
            "a url must be text; got a value of type list",
        ),
        ("a.jsonl", '{"url": "http://a/"}\n{"url": {"href": "http://b/"}}\n', 2, "got a value of type dict"),
        ("b.jsonl", '\n{"url": null, "shop": 7}\n', 2, "a record must have a url; got none"),
        ("c.jsonl", '{"url": "http://a/"}\n[1, 2]\n', 2, "must be one JSON object; got list"),
        ("d.jsonl", '{"url": "http://a/"}\n{"url": "http://exa\n', 2, "must be one JSON object; Unterminated"),
        (
            "e.jsonl",
            '{"url": "http://a/"}\n{"url": "' + "y" * (1 << 20) + '"}\n',
            2,
            "must have at most 1,048,576 bytes",
        ),
        ("f.jsonl", '{"url": "http://a/"}\n' + "[" * 100_000 + "\n", 2, "must be nested at most 100 levels deep"),
        (
            "g.jsonl",
            '{"url": "http://a/"}\n{"url": "x", "a": {"b": 1, "b": 2}}\n',
            2,
            "must have a key once; got 'b' twice",
        ),
        ("h.jsonl", '{"url": "http://a/"}\n{"url": "x", "url": "y"}\n', 2, "must have a key once; got 'url' twice"),
    ],
)
def test_a_record_without_a_url_is_reported_with_its_line_and_gets_no_row(
    tmp_path: Path, name: str, content: str, line: int, reason: str
) -> None:
    (tmp_path / name).write_text(content)
    found = report(tmp_path / name)
    (rejected,) = found.examples
    assert (rejected.file, rejected.line, found.without_url) == (str(tmp_path / name), line, 1)
    assert reason in rejected.reason
    assert len(read(tmp_path / name)) == found.records - 1


def test_a_parquet_record_without_a_url_is_reported_with_its_row(tmp_path: Path) -> None:
    table = pa.table({"url": [A, None, B, ""], "shop": [1, 2, 3, 4]})
    pq.write_table(table, tmp_path / "feed.parquet", row_group_size=3)
    found = report(tmp_path / "feed.parquet")
    assert [each.line for each in found.examples] == [2, 4]
    assert (found.records, found.without_url, len(read(tmp_path / "feed.parquet"))) == (4, 2, 2)


def test_the_line_of_a_record_without_a_url_is_right_in_every_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "_PIECE_BYTES", 100)
    (tmp_path / "feed.jsonl").write_text('{"url": "http://example.com/"}\n\n' * 20 + '{"shop": 7}\n')
    assert len(pieces(tmp_path / "feed.jsonl")) > 5
    assert [each.line for each in report(tmp_path / "feed.jsonl").examples] == [41]


def test_half_a_character_in_json_is_escaped_in_the_address(tmp_path: Path) -> None:
    (tmp_path / "feed.jsonl").write_text('{"url": "http://example.com/\\ud800", "x": "\\ud800"}\n')
    (target,) = read(tmp_path / "feed.jsonl")
    assert target.address == "http://example.com/%ED%A0%80"
    assert (target.url + str(target.extra)).encode()


def test_text_that_is_no_utf8_is_carried_as_windows_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes(b"url,shop\nhttp://example.com/caf\xe9,caf\xe9\n")
    (target,) = read(path)
    assert target.address == "http://example.com/caf%E9"
    assert json.loads((target.extra or "").encode()) == {"shop": "café"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For files that every example writes anew."""
    return tmp_path_factory.mktemp("feeds")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("end", ["\r", "\r\n", "\n", "\r\r\n"])
def test_whatever_ends_the_lines_of_a_large_file_each_is_a_record(tmp_path: Path, end: str, encoding: str) -> None:
    addresses = [f"{A}/{place}" for place in range(1000)]
    (tmp_path / "a.txt").write_bytes(end.join(addresses).encode(encoding))
    records = [json.dumps({"url": address, "n": 1}) for address in addresses]
    (tmp_path / "a.jsonl").write_bytes((end.join(records) + end).encode(encoding))
    for path in (tmp_path / "a.txt", tmp_path / "a.jsonl"):
        assert [target.url for target in read(path)] == addresses


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_a_record_without_a_url_is_reported_with_its_line_whatever_ends_lines(
    tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "_PIECE_BYTES", 100)
    monkeypatch.setattr(formats, "_CHUNK_BYTES", 7)
    lines = [f'{{"url": "{A}"}}'] * 40
    lines[11] = lines[38] = '{"shop": 7}'
    (tmp_path / "a.jsonl").write_bytes(end.join(lines).encode())
    assert [each.line for each in report(tmp_path / "a.jsonl").examples] == [12, 39]


@given(
    content=st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"a", b"long line", b"\0\xff"]) | st.binary(max_size=9)),
    cuts=st.lists(st.integers(0, 300), max_size=6),
    longest=st.integers(1, 12),
)
def test_cut_anywhere_the_pieces_of_a_text_give_each_line_once(
    folder: Path, content: list[bytes], cuts: list[int], longest: int
) -> None:
    path = folder / "feed.txt"
    path.write_bytes(b"".join(content))
    whole = re.split(rb"\r\n|\r|\n", path.read_bytes())
    expected = [
        (line, None) if len(line) <= longest else (line[: longest + 1], sha256(line).hexdigest())
        for line in (whole if whole[-1] else whole[:-1])
    ]
    size = path.stat().st_size
    places = sorted({0, size, *(cut for cut in cuts if cut < size)})
    parts = [Piece(str(path), FileForm(TEXT), begin, end) for begin, end in pairwise(places)]
    assert [line for piece in parts for line in formats.lines(piece, longest)] == expected


WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\t\x01"), max_size=12)  # these two part columns


@given(st.lists(st.tuples(WORDS, PATHS), max_size=8), st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_is_written_as_csv_is_read_as_it_was(folder: Path, rows: list[tuple[str, str]], end: str) -> None:
    path = folder / "feed.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator=end)
        writer.writerows([("shop", "url"), *((shop, f"http://a/{url}") for shop, url in rows)])
    found = read(path)
    assert [json.loads(target.extra or "")["shop"] for target in found] == [shop for shop, _ in rows]
    understood = [urls.understand(f"http://a/{url}".encode()) for _, url in rows]
    assert [target.url_key for target in found] == [target.url_key for target in understood if target]


@given(content=st.binary(max_size=60), name=st.sampled_from(["f.csv", "f.jsonl", "f.txt"]))
def test_whatever_a_file_holds_its_lines_are_targets_with_a_key(folder: Path, content: bytes, name: str) -> None:
    path = folder / name
    begins = {"f.csv": b"url,shop\n", "f.jsonl": b'{"url": "http://a/"}\n', "f.txt": b""}[name]
    path.write_bytes(begins + content)
    try:
        found = read(path)
    except FeedFileError:
        return
    for target in found:
        assert (target.address is None) == (target.status is not None)
        assert len(target.url_key) == 64
        json.loads((target.extra or "null").encode())


@pytest.mark.parametrize("length", [99, 100, 101, 102, 103, 3_000_000])
def test_a_long_line_is_cut_and_told_apart_by_its_digest(tmp_path: Path, length: int) -> None:
    path = tmp_path / "feed.txt"
    line = b"y" * length
    path.write_bytes(line + b"\nnext\n")
    (first, digest), second = formats.lines(Piece(str(path), FileForm(TEXT), 0, path.stat().st_size), 100)
    assert first == line[:101]
    assert digest == (sha256(line).hexdigest() if length > 100 else None)
    assert second == (b"next", None)
