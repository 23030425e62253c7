"""What README and docs/ hold for a reader to type: blocks of code, and commands in their text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))]
_FENCED = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)  # also in an item of a list
_INDENTED = re.compile(r"^    .+\n(?:    .+\n)*", re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")


class Block(NamedTuple):
    """A fenced block; `language` is all that stands behind the fence."""

    page: str
    language: str
    text: str

    @property
    def key(self) -> str:
        """Its page, language and how it begins."""
        return f"{self.page} {self.language}: {self.text.splitlines()[0][:32].strip()}"


def text_of(page: str) -> str:
    """A page's text."""
    return (REPOSITORY / page).read_text(encoding="utf-8")


def blocks(page: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in order."""
    matches = _FENCED.finditer(text_of(page))
    found = [Block(page, match[2], re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)) for match in matches]
    return [block for block in found if language in (None, block.language)]


def block(page: str, word: str) -> str:
    """The one fenced block of a page that has this word in it."""
    (found,) = [block.text for block in blocks(page) if word in block.text]
    return found


def commands(page: str, program: str) -> list[str]:
    """The command lines of a page that match: in blocks of sh, in indented ones, and between backticks.

    Args:
        page: its path in the repository.
        program: a regular expression for the beginning.
    """
    text = text_of(page)
    prose = _FENCED.sub("", text)
    typed = [block.text for block in blocks(page, "sh")] + [match.group() for match in _INDENTED.finditer(prose)]
    lines = [line.strip() for each in typed for line in re.sub(r"\\\n", " ", each).splitlines()]
    lines += [" ".join(quoted.split()) for quoted in _INLINE.findall(_INDENTED.sub("", prose))]
    return [line for line in lines if re.match(program, line)]
