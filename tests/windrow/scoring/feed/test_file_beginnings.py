"""What stands above the data of a feed's file, or between its lines, and is none: comments, titles, empty rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.feed.feed_reports import FeedFileError

from .test_formats import A, B, read, report

NAMES = ["a.csv", "a.txt", "part-0"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_line_of_a_text_that_begins_with_a_hash_is_a_comment(tmp_path: Path, encoding: str, end: str) -> None:
    lines = ["# a list, of http://c/", "#", A, f"  #{B}", "\ufeff# joined", "#" + "x" * 9000, "#1\t2", f"{B}#3"]
    (tmp_path / "a.txt").write_bytes(end.join([*lines, ""]).encode(encoding))
    found = read(tmp_path / "a.txt")
    assert [(target.address, target.status) for target in found] == [(A, None), (B, None)]
    assert report(tmp_path / "a.txt").records == 2, "a comment is no record, as a blank line is none"


def test_comments_do_not_count_where_most_lines_must_be_urls(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"#EXTM3U\n#EXTINF:1,a\n{A}\n#EXTINF:1,b\n# c\n{B}\n")
    assert [target.url for target in read(tmp_path / "a.txt")] == [A, B]
    (tmp_path / "a.txt").write_text(f"# c\nno url\nno url either\n{A}\n")
    with pytest.raises(FeedFileError, match="line 2: most of the file's lines are no URLs"):
        read(tmp_path / "a.txt")


@pytest.mark.parametrize("content", [f"#1,{A}\n#2,{B}\n", f"# a list\n#{A}\n"])
def test_a_text_with_urls_in_comments_alone_is_refused_so_that_no_one_takes_it_for_read(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "b.txt").write_text("# nothing yet\n")
    assert read(tmp_path / "b.txt") == []
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(FeedFileError, match="must have lines that do not begin with #"):
        read(tmp_path / "a.txt")


def powershell(rows: list[str]) -> str:
    """As Export-Csv of Windows PowerShell writes it, unless told otherwise."""
    quoted = (",".join(f'"{value}"' for value in row.split(",")) for row in rows)
    return "\r\n".join(["#TYPE System.Management.Automation.PSCustomObject", *quoted, ""])


ABOVE: dict[str, Callable[[list[str]], str]] = {
    "PowerShell": powershell,
    "a comment": lambda rows: "\n".join(["# exported on 2026-11-28, by me", *rows, ""]),
    "comments and blank lines": lambda rows: "\n".join(["", "#", "", '# "a', "  ", "\t#b,c,d", *rows, ""]),
    "a comment with a URL": lambda rows: "\n".join(["# see, http://example.com/", *rows, ""]),
    "empty rows of Excel": lambda rows: "\n".join([",", " , ", *rows, ""]),
    "blank lines": lambda rows: "\n".join(["", "   ", *rows, ""]),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("above", ABOVE)
def test_what_stands_above_the_header_of_a_table_is_no_record(tmp_path: Path, above: str, name: str) -> None:
    text = ABOVE[above](["id,url", f"1,{A}", f"2,{B}"])
    for content in (text.encode(), text.encode("utf-16"), gzip.compress(text.encode("utf-8-sig"))):
        (tmp_path / name).write_bytes(content)
        found = [(target.url, json.loads(target.extra or "")["id"]) for target in read(tmp_path / name)]
        assert found == [(A, "1"), (B, "2")]
        assert report(tmp_path / name).records == 2


@pytest.mark.parametrize("above", ["", "   \n", "\n"])
def test_blank_lines_above_a_header_of_one_column_are_no_header(tmp_path: Path, above: str) -> None:
    (tmp_path / "a.csv").write_text(f"{above}url\n{A}\n")
    assert [target.url for target in read(tmp_path / "a.csv")] == [A]


@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_a_fault_below_comments_has_its_own_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("# a\n\n# b\nurl,a,a\n")
    with pytest.raises(FeedFileError, match="line 4: a CSV must name a column once"):
        read(tmp_path / name)
    (tmp_path / name).write_text(f"# a\n\n# b\nurl,a\n{A}\n")
    with pytest.raises(FeedFileError, match="line 5: a record must have a field for each column"):
        read(tmp_path / name)
    (tmp_path / name).write_text("# a\nImage URL;n\nhttp://a/;1\n")
    with pytest.raises(FeedFileError, match="line 2: a CSV must have a column url; got Image URL, n"):
        read(tmp_path / name)


@pytest.mark.parametrize("header", ["#id,url", "# id, url"])
def test_a_header_that_begins_with_a_hash_is_one(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n1,{A}\n")
    assert [target.extra for target in read(tmp_path / "a.csv")] == [
        json.dumps({header.split(",")[0]: "1"}).replace(' "1', '"1')
    ]


def test_a_first_record_that_begins_with_a_hash_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"#1,{A}\n2,{B}\n")
    assert [target.url for target in read(tmp_path / "a.csv")] == [A, B]


def test_in_a_record_of_a_table_a_hash_is_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"id,url\n#1,{A}\n#2,{B}\n")
    assert [target.extra for target in read(tmp_path / "a.csv")] == ['{"id":"#1"}', '{"id":"#2"}']


@given(
    comments=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters='"')), max_size=4
    ),
    packed=st.booleans(),
)
def test_any_comments_above_a_text_or_a_table_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, comments: list[str], packed: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name, lines in (("c.txt", [A, B]), ("c.csv", ["url,n", f"{A},1", f"{B},2"])):
        content = "\n".join([*(f"#!{text}" for text in comments), *lines, ""]).encode()
        (folder / name).write_bytes(gzip.compress(content) if packed else content)
        assert [target.url for target in read(folder / name)] == [A, B]
