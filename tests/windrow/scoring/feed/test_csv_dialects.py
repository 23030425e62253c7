"""CSV as others write it: each dialect is read as it was written, and a file that no dialect fits is refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.feed import formats
from windrow.scoring.feed.feed_reports import FeedFileError, PieceReport

from .test_formats import pieces, read, report

Rows = list[tuple[str, str, str]]

SITE = "http://example.com/"


def excel(rows: Rows) -> bytes:
    """As Excel saves CSV in a country whose decimal sign is a comma."""
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerows(rows)
    return b"\xef\xbb\xbfsep=;\r\n" + text.getvalue().encode()


def excel_text(rows: Rows) -> bytes:
    """As Excel saves "Unicode text"."""
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-16")


def pandas(rows: Rows, **options: object) -> bytes:
    import pandas as pd

    frame = pd.DataFrame(rows[1:], columns=list(rows[0]))
    return frame.to_csv(index=False, **options).encode()  # type: ignore[call-overload,no-any-return]


def spark(rows: Rows, everything: bool) -> bytes:
    """As Spark writes it by default: a backslash escapes a quote, and inside quotes itself."""

    def value(text: str) -> str:
        plain = not everything and not any(character in text for character in '",\r\n') and text
        return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return "".join(",".join(map(value, row)) + "\n" for row in rows).encode()


def hive(rows: Rows, delimiter: str) -> bytes:
    """As Hive writes it: no header, no quotes."""
    return "".join(delimiter.join(row) + "\n" for row in rows[1:]).encode()


WRITERS: dict[str, tuple[str, Callable[[Rows], bytes]]] = {
    "pandas": ("a.csv", pandas),
    "pandas with everything in quotes": ("a.csv", lambda rows: pandas(rows, quoting=csv.QUOTE_ALL)),
    "pandas with tabs": ("a.tsv", lambda rows: pandas(rows, sep="\t")),
    "pandas with bars, packed": ("a.csv.gz", lambda rows: gzip.compress(pandas(rows, sep="|"))),
    "pandas with another suffix": ("a.data", pandas),
    "Excel": ("a.csv", excel),
    "Excel's Unicode text": ("a.txt", excel_text),
    "Spark": ("part-0.csv", lambda rows: spark(rows, everything=False)),
    "Spark with everything in quotes, packed": ("a.csv.gz", lambda rows: gzip.compress(spark(rows, everything=True))),
}
VALUES = st.text(st.sampled_from('ab",;\t|\n\r é') | st.characters(codec="utf-8"), max_size=8).filter(
    # Before a line end, a carriage return is a part of that; between tabs, \N is Hive's null.
    lambda text: not text.endswith("\r") and text != r"\N"
)


UNQUOTED = st.text(st.sampled_from('ab",; é'), max_size=8).filter(
    lambda text: not (text.startswith('"') and text.endswith('"'))  # between tabs, nothing shows that it is not quoted
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For files that every example writes again."""
    return tmp_path_factory.mktemp("dialects")


@pytest.mark.parametrize("writer", WRITERS)
@given(values=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6))
def test_what_others_write_is_read_as_it_was(folder: Path, writer: str, values: list[tuple[str, str]]) -> None:
    name, write = WRITERS[writer]
    if "Spark" in writer:  # where no quote of the file is escaped, nothing shows that backslashes are
        values = [*values, ('"', "\\")]
    rows = [("id", "url", "note"), *((first, f"{SITE}{place}", last) for place, (first, last) in enumerate(values))]
    path = folder / name
    path.write_bytes(write(rows))
    found = [(target.url, json.loads(target.extra or "")) for target in read(path)]
    assert found == [(url, {"id": first, "note": last}) for first, url, last in rows[1:]]


@pytest.mark.parametrize("delimiter", ["\x01", "\t"])
@given(values=st.lists(st.tuples(UNQUOTED, UNQUOTED), min_size=1, max_size=6))
def test_what_hive_writes_has_no_header_and_no_quotes(
    folder: Path, delimiter: str, values: list[tuple[str, str]]
) -> None:
    rows = [("url", "b", "c"), *((f"{SITE}{place}", *both) for place, both in enumerate([*values, ('"', r"\N")]))]
    path = folder / "000000_0"
    path.write_bytes(hive(rows, delimiter))
    found = [(target.url, *json.loads(target.extra or "").values()) for target in read(path)]
    assert found == [*rows[1:-1], (rows[-1][0], '"', None)]


@pytest.mark.parametrize("last", [b"red\r", b"re\rd\r", b"red"])
def test_a_file_that_was_cut_off_within_a_line_end_or_value_is_said_to_be(tmp_path: Path, last: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"url,note\r\nhttp://a/1,blue\r\nhttp://a/2," + last)
    notes = [json.loads(target.extra or "")["note"] for target in read(path)]
    assert notes == ["blue", last.decode().removesuffix("\r")]
    assert "no line end" in report(path).notes[0].reason


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\r\r\n", "\n\r"])
def test_a_line_end_of_any_kind_ends_the_last_record(tmp_path: Path, end: str) -> None:
    (tmp_path / "a.csv").write_bytes(end.join(["url,n", "http://a/1,x", "http://a/2,y", ""]).encode())
    assert [json.loads(target.extra or "")["n"] for target in read(tmp_path / "a.csv")] == ["x", "y"]
    if end != "\n\r":
        assert report(tmp_path / "a.csv").notes == []


@given(values=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6), data=st.data())
@pytest.mark.parametrize("writer", ["pandas", "Excel", "Spark", "pandas with tabs"])
def test_of_a_file_that_was_cut_anywhere_every_row_but_the_last_is_as_before_or_the_file_is_refused(
    folder: Path, writer: str, values: list[tuple[str, str]], data: st.DataObject
) -> None:
    name, write = WRITERS[writer]
    rows = [("id", "url", "note"), *((first, f"{SITE}{place}", last) for place, (first, last) in enumerate(values))]
    content = write(rows)
    path = folder / name
    path.write_bytes(content)
    whole = read(path)
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        found = read(path)
    except FeedFileError:
        return
    assert found[:-1] == whole[: len(found[:-1])]
    if found and found[-1:] != whole[len(found) - 1 : len(found)]:
        assert "no line end" in report(path).notes[0].reason


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (
            b"".join(b"http://a/%d,%s\n" % (n, b'"x' if n == 2 else b"x") for n in range(100)),
            4,
            "a quote must be closed",
        ),
        (b'http://a/1,"x\nhttp://a/2,"y\nhttp://a/3,z\n', 2, "a quote inside quotes must be doubled"),
        (b'http://a/1,"5\nhttp://a/2,6"\n', 2, "must not hold other records"),
        (b"http://a/1,x\nhttp://a/2\n", 3, "got 1 field, and the header has 2"),
        (b"http://a/1,x\n\nhttp://a/2,x,y\n", 4, "got 3 fields, and the header has 2"),
        (b'http://a/1,"x\ny"\nhttp://a/2\n', 4, "got 1 field, and the header has 2"),
        (b'http://a/1,"' + b"x\n" * 1001 + b'"\n', 2, "at most 1,000 lines"),
        (b'http://a/1,"' + b"x" * (1 << 20) + b'"\n', 2, "at most 1,048,576 characters"),
        (b"http://a/1," + b"x" * (2 << 20) + b"\n", 2, "at most 1,048,576 characters"),
    ],
)
def test_a_record_that_can_not_be_one_refuses_its_file_with_the_line(
    tmp_path: Path, content: bytes, line: int, reason: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"url,shop\n" + content)
    with pytest.raises(FeedFileError) as caught:
        read(path)
    assert (caught.value.fault.file, caught.value.fault.line) == (str(path), line)
    assert reason in caught.value.fault.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"URL;Url;shop\nx;y;z\n", "must have a column url; got URL, Url, shop; rename one"),
        (b"image_url;shop\nx;y\n", "must have a column url; got image_url, shop; rename one"),
        (b"url,shop,shop\nhttp://a/,1,2\n", "must name a column once; got 'shop' twice"),
        (b"shop,url,url\n1,http://a/,http://b/\n", "must name a column once; got 'url' twice"),
        (b"http://a/w_30,h_20/a.jpg\nhttp://a/w_30,h_20/b.jpg\n", "got 2 fields, and the first record has 1"),
        (b"http://a/?w=3,4\nhttp://a/?w=3,5\n", "got 2 fields, and the first record has 1"),
        (
            b"url" + b",x" * 0 + b"".join(b",%d" % n for n in range(10_000)) + b"\n",
            "at most 10,000 columns; got 10,001",
        ),
    ],
)
def test_a_header_that_can_not_be_one_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(FeedFileError, match=r"line 1: ") as caught:
        read(path)
    assert reason in str(caught.value)


def test_between_tabs_quotes_are_data_only_where_no_value_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('url\tnote\nhttp://a/1\t5"\nhttp://a/2\t"6\n')
    assert [target.extra for target in read(path)] == ['{"note":"5\\""}', '{"note":"\\"6"}']
    path.write_text('url\tnote\nhttp://a/1\t"5"""\nhttp://a/2\t"6\n')
    with pytest.raises(FeedFileError, match="line 3: a quote must be closed"):
        read(path)


def test_an_unnamed_column_is_carried_under_its_place(tmp_path: Path) -> None:
    """As pandas writes an index, and Excel columns that were once used."""
    (tmp_path / "a.csv").write_text(",url,\n7,http://a/,\n")
    assert [target.extra for target in read(tmp_path / "a.csv")] == ['{"_c0":"7","_c2":""}']


def test_zero_bytes_line_ends_and_blank_lines_in_a_csv_lose_no_row(tmp_path: Path) -> None:
    content = b"url,shop\r\n\r\nhttp://a/1,x\0y\r\n   \r\nhttp://a/2,\0\r\n\r\n"
    (tmp_path / "a.csv").write_bytes(content)
    assert [json.loads(target.extra or "") for target in read(tmp_path / "a.csv")] == [{"shop": "x\0y"}, {"shop": "\0"}]


def test_a_backslash_is_itself_where_no_quote_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('url,shop\nhttp://a/1,"C:\\dir\\"\nhttp://a/2,\\\\host\\share\n')
    found = [json.loads(target.extra or "")["shop"] for target in read(tmp_path / "a.csv")]
    assert found == ["C:\\dir\\", "\\\\host\\share"]


def test_a_value_of_many_lines_with_a_url_in_it_is_no_other_record(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('url,note\nhttp://a/1,"see\nhttp://b/\nand others"\nhttp://a/2,x\n')
    assert len(read(tmp_path / "a.csv")) == 2


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize(
    ("columns", "first", "second"),
    [
        ("name,url", '"Hello,http://a/1', 'World",http://a/2'),
        ("name,url", 'Hi,"http://a/1', 'World",http://a/2'),
        ("id,name,url,price", '1,"Hello,http://a/1,5', '2,World",http://a/2,6'),
        ("id,name,url,price", '1,"Hello,http://a/1,5', 'World",http://a/2,6'),
        ("id,url,name,price", '1,"http://a/1,Hello,5', '2,http://a/2,World",6'),
        ("url,name", '"http://a/1,Hello', 'http://a/2",World'),
    ],
)
def test_a_quote_too_many_never_hides_the_url_of_its_own_line(
    tmp_path: Path, columns: str, first: str, second: str, delimiter: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{columns}\n{first}\n{second}\n".replace(",", delimiter))
    with pytest.raises(FeedFileError, match="line 2: "):
        read(path)


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x0b", "\x0c", "\x1c"])
def test_a_character_that_ends_lines_elsewhere_hides_no_record_in_quotes(tmp_path: Path, mark: str) -> None:
    """A quote too many before lines each of which is cut in two by such a character."""
    rows = [f'1,"a{mark}b,http://a/1,x', f"2,c{mark}d,http://a/2,x", f'3,e{mark}f",http://a/3,x']
    (tmp_path / "a.csv").write_text("\n".join(["id,name,url,n", *rows, ""]))
    with pytest.raises(FeedFileError, match="line 2: "):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("between", ["", "\ufeff", "\r\n"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.txt"])
def test_the_header_of_a_file_that_was_joined_to_another_is_no_record(tmp_path: Path, name: str, between: str) -> None:
    part = "url,n\r\nhttp://a/{0},n\r\nhttp://b/{0},url\r\n"
    content = f"\ufeff{part.format(1)}{between}{part.format(2)}".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    found = [(target.url, json.loads(target.extra or "")["n"]) for target in read(tmp_path / name)]
    assert found == [(f"http://{host}/{part}", n) for part in "12" for host, n in (("a", "n"), ("b", "url"))]
    assert report(tmp_path / name).records == 4


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "part-0", "a.csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_column_of_urls_in_quotes_needs_no_header(tmp_path: Path, name: str, end: str) -> None:
    content = "".join(f'"http://a/w_{place},h_2/{place}.jpg"{end}' for place in range(3)).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert [target.url for target in read(tmp_path / name)] == [
        f"http://a/w_{place},h_2/{place}.jpg" for place in range(3)
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "\x01"])
def test_the_null_of_databases_is_null_between_all_delimiters(tmp_path: Path, delimiter: str) -> None:
    """As MySQL, Hive and Snowflake write it; the record whose URL is null gets no row."""
    rows = [("1", "http://a/1", r"\N"), ("2", r"\N", "x"), ("3", "http://a/3", r"C:\N")]
    (tmp_path / "a.csv").write_text("".join(delimiter.join(row) + "\n" for row in [("id", "url", "n"), *rows]))
    assert [json.loads(target.extra or "")["n"] for target in read(tmp_path / "a.csv")] == [None, r"C:\N"]
    assert [fault.line for fault in report(tmp_path / "a.csv").examples] == [3]


@pytest.mark.parametrize("line", ["http://a/x,url,3", "http://a/get;url", "http://a/a|url|b"])
def test_a_url_with_the_word_url_between_delimiters_is_no_header(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.txt").write_text(f"{line}\nhttp://a/2\n")
    assert [target.url for target in read(tmp_path / "a.txt")] == [line, "http://a/2"]


@pytest.mark.parametrize("delimiter", ["\t", "\x01"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt", "part-0"])
@pytest.mark.parametrize("url", ["http://a/0;v", "http://a/0,v", "http://a/0;w=1,h=2", "http://a/0|v"])
def test_a_delimiter_that_no_url_has_comes_before_one_that_this_url_has(
    tmp_path: Path, delimiter: str, name: str, url: str
) -> None:
    (tmp_path / name).write_text(f"{url}{delimiter}x\n{url}1{delimiter}y\n")
    found = [(target.url, json.loads(target.extra or "")) for target in read(tmp_path / name)]
    assert found == [(url, {"_c1": "x"}), (f"{url}1", {"_c1": "y"})]


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_a_url_in_quotes_ends_with_them_and_needs_no_header(tmp_path: Path, delimiter: str, name: str) -> None:
    urls = [f"http://a/w_3{delimiter}h_2/{place}.jpg?x=1" for place in range(2)]
    (tmp_path / name).write_text("".join(f'"{url}"{delimiter}"a=1.jpg"\n' for url in urls))
    assert [target.url for target in read(tmp_path / name)] == urls


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "\x01"])
def test_of_two_columns_of_urls_without_a_header_none_is_taken(tmp_path: Path, delimiter: str) -> None:
    (tmp_path / "a.csv").write_text(f"http://a/1.jpg{delimiter}http://a/page/1\n" * 2)
    with pytest.raises(FeedFileError, match="line 1: a CSV must have a column url"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("header", ["id, url", "id,url ", " url ,n"])
def test_blanks_around_the_name_url_do_not_count(tmp_path: Path, header: str) -> None:
    place = header.split(",").index(next(name for name in header.split(",") if "url" in name))
    (tmp_path / "a.csv").write_text(f"{header}\n" + ",".join([" http://a/1 ", "x"][:: 1 - 2 * place]) + "\n")
    assert [target.address for target in read(tmp_path / "a.csv")] == ["http://a/1"]


def test_a_value_of_many_lines_may_mention_a_url_in_any_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        'name,url,n\n"Seen on http://b/1, today\nand http://b/2, too",http://a/1,5\n"see\nb",http://a/2,6\n'
    )
    assert [target.url for target in read(path)] == ["http://a/1", "http://a/2"]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("value", ["x\ry", "\rx", "x\ryz"])
def test_a_carriage_return_in_the_last_value_is_data_whatever_ends_the_file(
    tmp_path: Path, value: str, end: str
) -> None:
    (tmp_path / "a.csv").write_bytes(f"url,n\nhttp://a/1,1\nhttp://a/2,{value}{end}".encode())
    assert [json.loads(target.extra or "")["n"] for target in read(tmp_path / "a.csv")] == ["1", value]


def test_a_csv_that_changed_after_it_was_checked_is_reported_as_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("url,shop\nhttp://a/1,x\nhttp://a/2,x\n")
    (piece,) = pieces(path)
    path.write_text("url,shop\nhttp://a/1,x\n")
    found = PieceReport()
    assert len(list(formats.targets(piece, found))) == 1
    assert found.fault
    assert "must stay as it is while it is read" in found.fault.reason
