"""Any bytes of a small text file are text without a mark of its encoding, or an error with the line."""

from __future__ import annotations

import codecs

from windrow.text_files import EncodingError, decoded

LONGEST = 400
TOKENS = ["\ufeff", "\n", "\r\n", "\0", "\u2028", "é", "\U0001f600", "\udcff"]
_TEXT = "digits\r\ngrößer\n\U0001f600\n"
SEEDS = [
    *(
        b"",
        b"a\n",
        b"caf\xe9\nx",
        b"\0a",
        _TEXT.encode(),
        _TEXT.encode("utf-8-sig"),
        _TEXT.encode("latin-1", "replace"),
    ),
    *(_TEXT.encode("utf-16"), codecs.BOM_UTF16_BE + _TEXT.encode("utf-16-be"), _TEXT.encode("utf-32")),
    *(_TEXT.encode("utf-16")[:-1], codecs.BOM_UTF16_LE + b"\x00\xd8", codecs.BOM_UTF32_LE + b"\0\0\x11\x01"),
]


def check(data: bytes) -> None:
    """Decode the bytes, and the text again."""
    try:
        text = decoded(data)
    except EncodingError as error:
        _check_error(error, data)
        return
    assert not text.startswith("\ufeff"), "a mark of the encoding is no text"
    assert "\0" not in text
    assert decoded(text.encode()) == text


def _check_error(error: EncodingError, data: bytes) -> None:
    assert str(error).isprintable(), error
    assert 1 <= error.line <= data.count(b"\n") + 1, error.line
