"""What a feed's file is follows from its content, and what is no feed is refused as a file."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from windrow.scoring.feed import feed_marks, file_bytes, file_forms, formats
from windrow.scoring.feed.feed_reports import FeedFileError, PieceReport

from .test_formats import A, B, extras, pieces, read, report

PACK: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda data: data,
    "gzip": gzip.compress,
    "gzip of two members": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: pa.compress(data, "zstd", asbytes=True),
}
CONTENT = {
    "text": (f"{A}\n\n{B}\n", None),
    "csv": (f"shop,url\nö,{A}\n7,{B}\n", {"shop": "ö"}),
    "tabs": (f"shop\turl\nö\t{A}\n7\t{B}\n", {"shop": "ö"}),
    "json": (f'{{"url": "{A}", "shop": "ö"}}\n{{"url": "{B}", "shop": "7"}}\n', {"shop": "ö"}),
}


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("kind", CONTENT)
def test_content_decides_whatever_the_name_the_packing_and_the_byte_order_mark(
    tmp_path: Path, kind: str, encoding: str, packing: str
) -> None:
    text, carried = CONTENT[kind]
    path = tmp_path / "feed.data"
    path.write_bytes(PACK[packing](text.encode(encoding)))
    found = extras(path)
    assert (list(found), found[A]) == ([A, B], carried)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_both_byte_orders_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes(f"\ufeff{A}\r\n{B}\r\n".encode(encoding))
    assert [target.url for target in read(tmp_path / "a.txt")] == [A, B]


@pytest.mark.parametrize("packing", [name for name in PACK if name != "as it is"])
def test_a_packed_file_that_was_cut_is_refused(tmp_path: Path, packing: str) -> None:
    whole = PACK[packing]("".join(f"{A}{number}\n" for number in range(500)).encode())
    for size in (len(whole) - 1, len(whole) // 2):
        (tmp_path / "a.txt.gz").write_bytes(whole[:size])
        with pytest.raises(FeedFileError, match="must be readable and whole"):
            read(tmp_path / "a.txt.gz")


@pytest.mark.parametrize("packing", [name for name in PACK if name not in ("as it is", "gzip of two members")])
def test_what_follows_a_packed_stream_is_read_or_refuses_the_file(tmp_path: Path, packing: str) -> None:
    path, first, second = tmp_path / "a.txt", PACK[packing](f"{A}\n".encode()), PACK[packing](f"{B}\n".encode())
    path.write_bytes(first + second)
    assert [target.url for target in read(path)] == [A, B]
    for rest in (b"junk", second[:-1], *(second[:place] + b"\xa5" + second[place + 1 :] for place in range(3))):
        path.write_bytes(first + rest)
        with pytest.raises(FeedFileError, match="must be readable and whole"):
            read(path)


@pytest.mark.parametrize("packing", ["gzip", "bz2", "xz"])
def test_zero_bytes_after_and_between_packed_streams_are_padding(tmp_path: Path, packing: str) -> None:
    streams = [PACK[packing](text.encode()) for text in (f"{A}\n" * 50_000, "", f"{B}\n")]
    (tmp_path / "a.txt").write_bytes(b"".join(stream + bytes(400_000) for stream in streams))
    assert [target.url for target in read(tmp_path / "a.txt")] == [A] * 50_000 + [B]


def test_a_packed_file_of_too_many_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_bytes, "UNPACKED_BYTES", 1 << 20)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"x" * (2 << 20)))
    with pytest.raises(FeedFileError, match="must hold at most 1,048,576 bytes; got more; split it"):
        read(tmp_path / "bomb.gz")


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_utf16_that_was_cut_within_a_character_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "a.txt").write_bytes(f"{A}\n\U0001f600".encode("utf-16")[:-cut])
    with pytest.raises(FeedFileError, match="must be whole UTF-16"):
        read(tmp_path / "a.txt")


def tar(content: bytes, mode: str) -> bytes:
    """A tar archive of one file: its content follows on a header without a line end."""
    stream, member = io.BytesIO(), tarfile.TarInfo("urls")
    member.size = len(content)
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


LINES = f"{A}\n{B}\n".encode() * 9
TARS = [
    *(("a.tar", LINES, "w"), ("a.txt", LINES, "w"), ("a.tar.gz", LINES, "w:gz"), ("a.tar.bz2", LINES, "w:bz2")),
    *(("a.tgz", b"id,url\n" + LINES, "w:gz"), ("a.csv", b"id,url\n1,http://a/1\n", "w")),
]
TABLES = [("a.txt", ";"), ("a.txt", ","), ("a.txt", "\t"), ("a", "|"), ("urls.lst", "\x01")]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"PK\x03\x04 and so on", "got a zip archive, as Excel's .xlsx is; save it as CSV"),
        ("a.csv", b"PK\x03\x04 and so on", "got a zip archive"),
        ("a.txt.gz", gzip.compress(b"PK\x03\x04", mtime=0), "got a zip archive"),
        ("a.txt", b"\xd0\xcf\x11\xe0", "got a file of an old Microsoft Office"),
        ("a.txt", b"%PDF-1.7", "got a PDF"),
        ("a", b"\x89PNG\r\n", "got an image"),
        ("a", b"ORC\x0a", "got an ORC file"),
        ("a", b"SQLite format 3\0", "got a database"),
        ("a.parquet", b"PARE....PARE", "Parquet file must be whole and readable"),
        ("a.bin", b"PARE....PARE", "got an encrypted Parquet file"),
        ("a.parquet", b"", "Parquet file must be whole and readable"),
        ("a.parquet", b"PAR1 and no more", "Parquet file must be whole and readable"),
        ("a.txt", b"PAR1 and no more", "Parquet file must be whole and readable"),
        ("a.parquet", b"url\nhttp://a/\n", "Parquet file must be whole and readable"),
        ("a.txt", b"\n <!doctype html>\n", "got HTML or XML"),
        ("a.csv", b"<?xml version='1.0'?>", "got HTML or XML"),
        ("a.json", b'[\n{"url": "x"}\n]\n', "must hold one object a line; got a list"),
        ("a.txt", b'[{"url": "x"}]', "must hold one object a line; got a list"),
        ("b.json", b'{\n"url": "x"\n}\n', "must hold one object a line; got '{' alone"),
        ("c.json", b'{"a": [\n1,\n2\n]}\n', "most of the file's lines are no JSON objects"),
        ("d.json", b"http://a/\n", "most of the file's lines are no JSON objects"),
        ("a.txt", "http://a/\nhttp://b/\n".encode("utf-16-le"), "got a URL in UTF-16 without a byte order mark"),
        ("a.txt", b"www.a.example/1.jpg\nwww.a.example/2.jpg\nhttp://a/\n", "most of the file's lines are no URLs"),
        ("a.txt", bytes(range(256)) * 50, "must have no control characters; got the byte 0x00 in the first line"),
        *((name, tar(inner, mode), "got a tar archive") for name, inner, mode in TARS),
        (
            "a.cpio",
            b"070701" + b"0" * 104 + b"a.txt\0" + f"{A}\n{B}\n{B}\n".encode(),
            "as archives and packed files have",
        ),
        ("a.ar", b"!<arch>\na.txt/ 0 0 0 644 99 `\n" + f"{A}\n{B}\n{B}\n".encode(), "got an archive"),
        ("a.deflate", zlib.compress(f"{A}\n{B}\n{B}\n".encode(), 0), "as archives and packed files have"),
        ("a.sz", b"\xff\6\0\0sNaPpY\1\x40\0\0abcd" + f"{A}\n{B}\n{B}\n".encode(), "as archives and packed files have"),
        *(
            (name, f"Image URL{sep}Name\n{A}{sep}x\n{B}{sep}y\n".encode(), "column url; got Image URL, Name")
            for name, sep in TABLES
        ),
        ("b.txt", f"Image Link;n\n{A};1\n".encode(), "column url; got Image Link, n"),
        ("b.txt", f"place\tsize\n{A}\tx\n{B}\ty\n".encode(), "a URL must be alone in its line; got more"),
        ("b.txt", f"\\N\x01x\n{A}\x01x\n{B}\x01y\n".encode(), "a URL must be alone in its line; got more"),
        *(
            ("b.txt", f"{A}.jpg{more}\n{B}.PNG{more}\n".encode(), "a URL must be alone in its line; got more")
            for more in (",cat", ";3.5", "|cat|0.5", " 2x", ",", ", a cat")
        ),
        ("a.txt", b"{\\rtf1\\ansi\nhttp://a/\\par\n", "got a document of a text processor"),
        ("a.url", b"[InternetShortcut]\nURL=http://a/\n", "most of the file's lines are no URLs"),
        ("a.txt", b"['http://a/', 'http://b/']", "must hold one object a line; got a list"),
        ("c.csv", f"url\n{A}\tcat\n{B}\tdog\n".encode(), "a URL must be alone in its value; got more"),
        ("c.csv", f"url,n\n{A} {B},1\n{B} {A},2\n".encode(), "a URL must be alone in its value; got more"),
        ("i.json", f'{{"url": "{A} {B}"}}\n'.encode() * 3, "a URL must be alone in its value; got more"),
        ("a.txt", b"id,name\n1,x\n2,y\n", "most of the file's lines are no URLs"),
        ("b.txt", f"{A} {B}\n{B}, {A}\n{A}\n".encode(), "a URL must be alone in its line; got more"),
        ("b.txt", f"{A}\u2028{B}\u2028{A}".encode(), "a URL must be alone in its line; got more"),
        ("b.txt", f"{A}\x85{B}\x85{A}".encode(), "a URL must be alone in its line; got more"),
        ("b.txt", f"{A}\x0c{B}\x0c{A}".encode(), "a URL must be alone in its line; got more"),
        ("a.json", b'{"images": [{"url": "http://a/"}]}\n', "have no URL: a record must have a key url; got images"),
        ("e.json", b'{"image_url": "http://a/"}\n' * 3, "must have a key url; got image_url"),
        ("f.json", b'{"URL": "http://a/", "Url": 1}\n' * 3, "must have a key url; got URL, Url"),
        ("h.json", b'{"url": "http://a/", "n": 1, "n": 2}\n' * 3, "must have a key once; got 'n' twice"),
        ("g.json", b'{"url": ["http://a/"]}\n' * 3, "most of the file's records have no URL"),
        ("a.csv", b"url,n\n'http://a/1',1\n'http://a/2',2\n", "most values of the file's column url are no URLs"),
        ("b.csv", b"n,url\nhttp://a/1,1\nhttp://a/2,2\n", "most values of the file's column url are no URLs"),
    ],
)
def test_what_is_no_feed_is_refused_as_one_file(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    found = feed_marks.news([tmp_path / name], {})
    assert found.pieces == []
    assert reason in found.refused[0].reason


@pytest.mark.parametrize(
    "urls",
    [
        pa.array([1, 2, 3]),
        pa.array([[A], [B], None]),
        pa.array([{"href": A}] * 3),
        pa.array(["a.png", "b.png", A]),
        pa.array([b"\x00\x01"] * 3),
    ],
    ids=lambda array: str(array.type),
)
def test_a_parquet_of_whose_values_most_are_no_urls_is_refused(tmp_path: Path, urls: pa.Array) -> None:
    pq.write_table(pa.table({"url": urls, "n": [1, 2, 3]}), tmp_path / "a.parquet", row_group_size=1)
    with pytest.raises(FeedFileError, match="most values of the file's column url are no URLs"):
        file_forms.find(tmp_path / "a.parquet", 1)


def test_records_without_a_value_do_not_refuse_their_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,url\n" + "1,\n" * 9 + f"2,{A}\n")
    (tmp_path / "a.jsonl").write_text('{"url": null}\n{"url": ""}\n' * 9 + f'{{"url": "{A}"}}\n')
    pq.write_table(pa.table({"url": [None, ""] * 600 + [A]}), tmp_path / "a.parquet")
    for path in (tmp_path / "a.csv", tmp_path / "a.jsonl", tmp_path / "a.parquet"):
        assert [target.url for target in read(path)] == [A]


def test_a_header_of_url_alone_is_that_of_a_csv_whatever_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"url\n{A}\n{B}\n")
    assert [target.url for target in read(tmp_path / "a.txt")] == [A, B]


@pytest.mark.parametrize("end", ["\x1a", "\n\x1a", "\r\n\x1a", "\r\x1a"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.txt", [A, B]),
        ("a.jsonl", [f'{{"url": "{A}", "n": "1"}}', f'{{"url": "{B}", "n": "2"}}']),
        ("a.csv", ["url,n", f"{A},1", f"{B},2"]),
    ],
)
def test_the_end_mark_of_dos_is_no_data(tmp_path: Path, name: str, lines: list[str], encoding: str, end: str) -> None:
    path = tmp_path / name
    path.write_bytes(((end[:-1] or "\n").join(lines) + end).encode(encoding))
    found = read(path)
    assert [target.address for target in found] == [A, B]
    assert {target.extra for target in found} <= {None, '{"n":"1"}', '{"n":"2"}'}
    assert report(path).notes == []


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("packing", ["as it is", "gzip"])
@pytest.mark.parametrize("lines", [1, 7, 100_000])
def test_utf16_to_which_plain_text_was_appended_is_refused(
    tmp_path: Path, encoding: str, packing: str, lines: int
) -> None:
    text = f"\ufeff{A}\r\n".encode(encoding) * lines + f"{B}\r\n{B}1\r\n".encode()
    for content in (text, text + b"\n"):
        (tmp_path / "a.txt").write_bytes(PACK[packing](content))
        with pytest.raises(FeedFileError, match=r"must be in it to its end|must be whole UTF-16"):
            read(tmp_path / "a.txt")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
@pytest.mark.parametrize("packing", ["as it is", "gzip"])
@pytest.mark.parametrize(
    ("name", "header", "line"),
    [("a.txt", "", A), ("a.csv", "url\r\n", A), ("b.csv", "url,n\r\n", f"{A},1"), ("a.jsonl", "", f'{{"url": "{A}"}}')],
)
def test_text_to_which_utf16_was_appended_is_refused(
    tmp_path: Path, name: str, header: str, line: str, packing: str, encoding: str
) -> None:
    appended = f"{line}\r\n{line}\r\n".encode(encoding)
    (tmp_path / name).write_bytes(PACK[packing]((header + f"{line}\r\n" * 20).encode() + appended))
    with pytest.raises(FeedFileError, match="must be in one encoding to its end; got a URL in UTF-16"):
        read(tmp_path / name)


@pytest.mark.parametrize(("name", "line"), [("a.txt", A), ("a.jsonl", f'{{"url": "{A}"}}')])
def test_a_large_text_to_which_utf16_was_appended_is_read_up_to_there(tmp_path: Path, name: str, line: str) -> None:
    lines = (1 << 20) // len(line)
    (tmp_path / name).write_bytes(f"{line}\n".encode() * lines + f"{line}\n".encode("utf-16-le") * 3)
    found = PieceReport()
    assert sum(1 for piece in pieces(tmp_path / name) for _ in formats.targets(piece, found)) == lines
    assert (found.records, found.without_url) == (lines, 0), "the numbers must add up"
    assert found.fault
    assert "must be in one encoding to its end" in found.fault.reason


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_byte_order_marks_and_what_is_copied_with_a_url_are_no_part_of_it(tmp_path: Path, name: str) -> None:
    line = {"a.txt": "{}", "a.csv": "{},x", "a.jsonl": '{{"url": "{}"}}'}[name]
    header = "url,n\n" if name == "a.csv" else ""
    copied = ["\u200b" + A, "\u2060 \u200e" + A, "\xa0" + A + "\xa0", "\u3000" + A]
    text = "\ufeff\ufeff" + header + "".join(line.format(url) + "\n" for url in [A, *copied])
    if name != "a.csv":
        text += "\ufeff\ufeff" + line.format(A) + "\n"
    (tmp_path / name).write_text(text)
    found = read(tmp_path / name)
    assert {target.address for target in found} == {A}
    assert len(found) >= 5


def test_a_text_of_which_half_are_urls_is_read_and_the_others_get_their_rows(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{A}\nno url\nftp://example.com/\nhttp://u:p@example.com/\nneither\n")
    statuses = [target.status for target in read(tmp_path / "a.txt")]
    assert statuses == [None, "invalid_url", "refused_scheme", "refused_credentials", "invalid_url"]


def test_lines_that_begin_as_urls_get_rows_however_many_are_not_valid(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("http://exa mple.com/\nHTTPS://\n")
    assert [target.status for target in read(tmp_path / "a.txt")] == ["invalid_url"] * 2


def test_a_record_that_is_too_long_does_not_cost_its_file(tmp_path: Path) -> None:
    long = '{"url": "' + "y" * (5 << 20) + '"}'
    (tmp_path / "a.jsonl").write_text(f'{long}\n{{"url": "{A}"}}\n')
    assert [target.url for target in read(tmp_path / "a.jsonl")] == [A]
    assert [found.line for found in report(tmp_path / "a.jsonl").examples] == [1]


def test_a_last_line_that_is_half_written_does_not_cost_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"url": "{A}"}}\n{{"url": "{B}')
    assert [target.url for target in read(tmp_path / "a.jsonl")] == [A]
    assert report(tmp_path / "a.jsonl").examples[0].line == 2


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pa.table({"link": [A]}), "must have a column url; got link; rename one"),
        (pa.Table.from_arrays([pa.array([A]), pa.array([B])], ["url", "url"]), "name a column once; got 'url' twice"),
        (pa.Table.from_arrays([pa.array([A]), *[pa.array([B])] * 2], ["url", "a", "a"]), "column once; got 'a' twice"),
    ],
)
def test_a_parquet_without_one_column_url_is_refused(tmp_path: Path, table: pa.Table, reason: str) -> None:
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(FeedFileError) as caught:
        file_forms.find(tmp_path / "a.parquet", 1)
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_a_mebibyte_of_blanks_before_the_first_line_takes_no_time(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b" " * 1_000_000 + b"\n" + b" \t" * 20_000 + b"x\n")
    started = time.process_time()
    with contextlib.suppress(FeedFileError):
        read(tmp_path / name)
    assert time.process_time() - started < 5
