"""The formats: every line and record is a target, whatever it holds; pieces of a file give the same as the whole."""

from __future__ import annotations

import csv
import json
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
from windrow.errors import UserError
from windrow.scoring.feed import formats
from windrow.scoring.feed.formats import Piece
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.urls import Target

A, B = "http://example.com/a", "http://example.com/b"


def read(path: Path) -> list[Target]:
    pieces = formats.pieces(path, formats.kind(path), 0, path.stat().st_size)
    return [target for piece in pieces for target in formats.targets(piece)]


def extras(path: Path) -> dict[str, object]:
    return {target.url: json.loads(target.extra or "null") for target in read(path)}


def test_a_csv_carries_its_other_columns_as_text(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    records = b'1,http://example.com/a,"two\nlines, and ""quotes"""\r\n\r\n2,http://example.com/b\r\n'
    path.write_bytes(b"\xef\xbb\xbfshop,url,note\r\n" + records)
    assert extras(path) == {A: {"shop": "1", "note": 'two\nlines, and "quotes"'}, B: {"shop": "2"}}


def test_a_csv_with_values_beyond_its_header_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_text(f"url\n{A},x,y\n")
    assert extras(path) == {A: {"": ["x", "y"]}}


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
    assert len(formats.pieces(path, formats.PARQUET, 0, 1)) == 2
    assert extras(path)[A] == {"raw": "AP8=", "when": str(when), "price": "1.50", "share": None, "id": 2**62}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "url,shop\n,7\n"),
        ("a.jsonl", '{"shop": 7}\n'),
        ("b.jsonl", '{"url": null, "shop": 7}\n'),
        ("c.jsonl", '{"url": "x"}\n[1, 2]\n'),
        ("d.jsonl", '{"url": "x"}\n{"url": "http://exa\n'),
        ("e.jsonl", '{"url": "x"}\n{"url": "' + "y" * (1 << 20) + '"}\n'),
        ("f.jsonl", '{"url": "x"}\n' + "[" * 100_000 + "\n"),
        ("h.jsonl", '{"url": ["http://example.com/"]}\n'),
    ],
)
def test_a_record_without_a_url_is_a_target_with_the_reason(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    last = read(tmp_path / name)[-1]
    assert (last.status, last.address, len(last.url_key)) == ("invalid_url", None, 64)
    assert last.error
    last.url.encode()


def test_half_a_character_in_json_is_escaped_in_the_address(tmp_path: Path) -> None:
    (tmp_path / "feed.jsonl").write_text('{"url": "http://example.com/\\ud800", "x": "\\ud800"}\n')
    (target,) = read(tmp_path / "feed.jsonl")
    assert target.address == "http://example.com/%ED%A0%80"
    assert (target.url + str(target.extra)).encode()


def test_text_that_is_no_utf8_stays_readable_json(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes(b"url,shop\nhttp://example.com/caf\xe9,caf\xe9\n")
    (target,) = read(path)
    assert target.address == "http://example.com/caf%E9"
    assert json.loads((target.extra or "").encode()) == {"shop": "caf?"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"URL;shop\nx;y\n", r"must have a column url; got URL;shop; rename one"),
        ("a.csv.gz", b"\x1f\x8b", "must not be packed"),
        ("a.json", b'[\n{"url": "x"}\n]\n', "must hold one JSON object a line"),
        ("b.json", b'{\n"url": "x"\n}\n', "must hold one JSON object a line"),
        ("a.parquet", b"PAR1 and no more", "must be a whole Parquet file"),
    ],
)
def test_a_file_that_is_no_feed_of_its_kind_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        formats.kind(tmp_path / name)


def test_parquet_needs_a_column_url(tmp_path: Path) -> None:
    pq.write_table(pa.table({"link": [A]}), tmp_path / "feed.parquet")
    with pytest.raises(UserError, match="must have a column url; got link"):
        formats.kind(tmp_path / "feed.parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For files that every example writes anew."""
    return tmp_path_factory.mktemp("feeds")


@given(
    content=st.lists(st.sampled_from([b"\n", b"\n", b"\r", b"a", b"long line", b"\0\xff"]) | st.binary(max_size=9)),
    cuts=st.lists(st.integers(0, 300), max_size=6),
    longest=st.integers(1, 12),
)
def test_cut_anywhere_the_pieces_of_a_text_give_each_line_once(
    folder: Path, content: list[bytes], cuts: list[int], longest: int
) -> None:
    path = folder / "feed.txt"
    path.write_bytes(b"".join(content))
    whole = path.read_bytes().split(b"\n")
    expected = [
        (line, None) if len(line) <= longest else (line[: longest + 1], sha256(line).hexdigest())
        for line in (whole if whole[-1] else whole[:-1])
    ]
    size = path.stat().st_size
    places = sorted({0, size, *(cut for cut in cuts if cut < size)})
    pieces = [Piece(str(path), formats.TEXT, begin, end) for begin, end in pairwise(places)]
    assert [line for piece in pieces for line in formats.lines(piece, longest)] == expected


WORDS = st.text(st.characters(codec="utf-8"), max_size=12)


@given(st.lists(st.tuples(WORDS, WORDS), max_size=8), st.sampled_from(["\n", "\r\n", "\r"]))
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
    for target in read(path):
        assert (target.address is None) == (target.status is not None)
        assert len(target.url_key) == 64
        json.loads((target.extra or "null").encode())


@pytest.mark.parametrize("length", [99, 100, 101, 102, 103, 3_000_000])
def test_a_long_line_is_cut_and_told_apart_by_its_digest(tmp_path: Path, length: int) -> None:
    path = tmp_path / "feed.txt"
    line = b"y" * length
    path.write_bytes(line + b"\nnext\n")
    (first, digest), second = formats.lines(Piece(str(path), formats.TEXT, 0, path.stat().st_size), 100)
    assert first == line[:101]
    assert digest == (sha256(line).hexdigest() if length > 100 else None)
    assert second == (b"next", None)
