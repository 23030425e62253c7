"""Read the small text files that users write, in the encodings that editors and shells save them in."""

from __future__ import annotations

import codecs
from pathlib import Path

from windrow.errors import UserError

# The mark of UTF-32 begins as that of UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_MARK, _DOS_END = "\ufeff", "\x1a"

MOST_BYTES = 100_000_000
"""The largest file: one million labels of 100 bytes."""


class EncodingError(ValueError):
    """Bytes that are not text in an encoding that is read.

    Attributes:
        rule: what the text must be, what it is, and how to correct it.
        line: the line of the first wrong byte, from 1.
    """

    def __init__(self, byte: str, line: int, encoding: str = "utf-8") -> None:
        named = {
            "utf-16": "UTF-16 text, as its byte order mark says",
            "utf-32": "UTF-32 text, as its byte order mark says",
        }
        self.rule = f"must be {named.get(encoding, 'UTF-8 text')}; got byte {byte}; save it as UTF-8"
        self.line = line
        super().__init__(self.rule)


def read(path: Path) -> str:
    """Return the text of a file in UTF-8, or in the encoding that a byte order mark says, without the mark.

    Raises:
        OSError: the file can't be read.
        UserError: the file is too large, or is in another encoding.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UserError(f"{path} must have at most {MOST_BYTES:,} bytes; got more; is it another file?")
    try:
        return decoded(content)
    except EncodingError as error:
        raise UserError(f"{path} {error.rule} (line {error.line})") from error


def decoded(content: bytes) -> str:
    """Return the text of a file's content, as `read` does.

    Raises:
        EncodingError: the content is in another encoding.
    """
    encoding = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(content[: error.start].decode(encoding, "replace").split("\n"))
        raise EncodingError(f"0x{content[error.start]:02x}", line, encoding) from error
    if (place := text.find("\0")) >= 0:
        raise EncodingError("0x00", text.count("\n", 0, place) + 1, encoding)
    return text.lstrip(_MARK).removesuffix(_DOS_END)  # an editor may add a second mark to a file that has one


def lines(text: str) -> list[str]:
    """Return the lines of a text without their ends, which are those of Unix, Windows and old Macs alone.

    An end that was converted for Windows twice is one, and a byte order mark of a file that was joined to another is no
    part of a line.

    str.splitlines also ends a line at the control character 0x85, which a wrongly converted "…" is, and at others: then
    each name after it would be that of another class.
    """
    plain = text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    return [line.lstrip(_MARK) for line in plain.removesuffix("\n").split("\n")] if plain else []
