"""Small text files: in the encodings that editors save them in, and without marks of these."""

from __future__ import annotations

import codecs

import pytest
from windrow.text_files import EncodingError, decoded


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_without_the_mark_of_its_encoding(encoding: str) -> None:
    assert decoded("größe\n".encode(encoding)) == "größe\n"


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_a_second_mark_is_no_text_either(mark: bytes) -> None:
    """Found by make fuzz: the first class's name began with it."""
    encoding = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le"}.get(mark, "utf-16-be")
    assert decoded(mark * 2 + "cat\n".encode(encoding)) == "cat\n"


@pytest.mark.parametrize(("content", "line"), [(b"a\ncaf\xe9", 2), (b"a\n\nb\0", 3), (b"\xff\xfea\0b", 1)])
def test_other_bytes_are_an_error_with_the_line(content: bytes, line: int) -> None:
    with pytest.raises(EncodingError, match=r"must be UTF-8 text; got byte 0x..; save it as UTF-8") as caught:
        decoded(content)
    assert caught.value.line == line
