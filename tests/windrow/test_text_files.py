"""Small text files of users are read in the encodings that editors and shells write, and refused in others."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow import text_files
from windrow.errors import UserError

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\x1a\ufeff"))


@given(text=TEXT, encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_a_text_is_read_in_every_encoding_that_says_what_it_is(text: str, encoding: str) -> None:
    assert text_files.decoded(text.encode(encoding)) == text


@given(text=TEXT, big=st.booleans())
def test_the_byte_order_is_found_by_its_mark(text: str, big: bool) -> None:
    mark, encoding = (codecs.BOM_UTF16_BE, "utf-16-be") if big else (codecs.BOM_UTF16_LE, "utf-16-le")
    assert text_files.decoded(mark + f"x{text}".encode(encoding)) == f"x{text}"


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_a_second_mark_is_no_text_either(mark: bytes) -> None:
    """Found by make fuzz: the first class's name began with it."""
    encoding = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le"}.get(mark, "utf-16-be")
    assert text_files.decoded(mark * 2 + "cat\n".encode(encoding)) == "cat\n"


@given(st.binary(max_size=60))
def test_any_bytes_are_text_or_an_error_with_a_line(content: bytes) -> None:
    wrong: text_files.EncodingError | None = None
    try:
        text_files.decoded(content)
    except text_files.EncodingError as error:
        wrong = error
    assert wrong is None or re.match(r"must be UTF-(8|16|32) text(, as .* says)?; got byte 0x", wrong.rule)
    assert wrong is None or 1 <= wrong.line <= content.count(b"\n") + 1


@pytest.mark.parametrize(
    ("content", "byte", "line"),
    [
        ("eins\ncafé".encode("latin-1"), "0xe9", 2),
        ("größe".encode("cp1252"), "0xf6", 1),
        ("a\nb".encode("utf-16-le"), "0x00", 1),
        ("日本".encode("shift-jis"), "0x93", 1),
    ],
)
def test_another_encoding_is_an_error_that_names_line_byte_and_cure(
    content: bytes, byte: str, line: int, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"labels.txt must be UTF-8 text; got byte {byte}; save .* \(line {line}\)"):
        text_files.read(tmp_path / "labels.txt")


@pytest.mark.parametrize(("encoding", "name"), [("utf-16", "UTF-16"), ("utf-32", "UTF-32")])
def test_a_torn_text_is_an_error_that_names_its_own_encoding(encoding: str, name: str) -> None:
    torn = "cat\ndog\nbird".encode(encoding)[:-1]
    with pytest.raises(text_files.EncodingError, match=f"must be {name} text, as its byte order mark says") as error:
        text_files.decoded(torn)
    assert error.value.line == 3


def test_a_file_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="must have at most 1,000 bytes; got more; is it another file"):
        text_files.read(Path("/dev/zero"))


@given(names=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\ufeff"), min_size=1), min_size=1),
       end=st.sampled_from(["\n", "\r\n", "\r"]), closed=st.booleans())  # fmt: skip
def test_a_line_ends_where_files_end_lines_and_at_no_other_character(names: list[str], end: str, closed: bool) -> None:
    assert text_files.lines(end.join(names) + end * closed) == names


def test_a_text_without_characters_has_no_lines() -> None:
    assert text_files.lines("") == []
    assert text_files.lines("a\n\nb\n") == ["a", "", "b"]


@given(
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\ufeff\x1a"), min_size=1), min_size=1
    ),
    end=st.sampled_from(["\n", "\r\n", "\r\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    last=st.sampled_from(["", "\x1a"]),
)
def test_joined_and_twice_converted_lists_and_the_end_mark_of_dos_change_no_name(
    names: list[str], end: str, encoding: str, last: str
) -> None:
    """A name that begins with a mark, or that is empty, would be another class, and each name after it, too."""
    text = "".join(f"\ufeff{name}{end}" for name in names) + last
    assert text_files.lines(text_files.decoded(text.encode(encoding))) == names
