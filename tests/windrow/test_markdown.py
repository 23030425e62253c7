"""A user's text in Markdown is shown as it is: in a paragraph, a list, and the cell of a table."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from windrow.markdown import escaped

RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
PRINTABLE = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
NAMES = st.text(PRINTABLE, min_size=1, max_size=40).map(lambda text: " ".join(text.split())).filter(bool)


def words(markdown: str, element: str) -> str:
    """The text in the only element of a kind, which must have no elements inside."""
    (inside,) = re.findall(rf"<{element}>(.*?)</{element}>", RENDERER.render(markdown), re.DOTALL)
    assert not re.search(r"<(?!br)", inside), inside
    return unescape(inside.strip())


@given(NAMES)
@example("*_*")
@example("a|b")
@example("`x`")
@example("[a](http://a.example)")
@example("<b>x</b>")
@example("&lt;&#65;")
@example("# no heading")
@example("1. no list")
@example("1) no list")
@example("- no list")
@example("---")
@example("===")
@example("~~x~~")
@example("\\")
@example("a\\|b")
@example("![x](y)")
@example("_x_ __y__ snake_case")
def test_any_printable_text_is_shown_as_it_is(name: str) -> None:
    assert words(escaped(name), "p") == name
    assert words(f"- {escaped(name)}", "li") == name
    assert cells(f"| a | b |\n|---|---|\n| {escaped(name)} | x |") == [name, "x"]


def cells(markdown: str) -> list[str]:
    return [unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", RENDERER.render(markdown), re.DOTALL)]


@pytest.mark.parametrize("text", ["val_accuracy 0.93 (guessing: 0.5)", "units=64, learning_rate=1e-3", "größe 50 %"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert escaped(text) == text
