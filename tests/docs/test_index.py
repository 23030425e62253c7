"""docs/index.md leads to every page, and every plugin stands in docs/architecture.md."""

from __future__ import annotations

import re

from harness.documents import PAGES, REPOSITORY, text_of
from windrow.sweep.outcomes import Ending


def test_the_index_has_every_page_once() -> None:
    listed = re.findall(r"^- \[([\w.]+)\]\(([\w.]+)\): \S", text_of("docs/index.md"), re.MULTILINE)
    assert [name for name, target in listed if name != target] == []
    names = [name for name, _ in listed]
    pages = [page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")]
    assert sorted([*names, "index.md"]) == pages


def test_the_readme_leads_to_the_index() -> None:
    assert "](docs/index.md)" in text_of("README.md")


def test_the_architecture_is_one_page_and_has_every_plugin() -> None:
    text = text_of("docs/architecture.md")
    assert len(text.splitlines()) <= 90
    plugins = [f"plugins/{path.name}" for path in (REPOSITORY / "plugins").glob("*.py")]
    assert [name for name in plugins if f"`{name}`" not in text] == []


def test_every_decision_has_its_day_and_is_in_order() -> None:
    areas = re.split(r"^## ", text_of("docs/decisions.md"), flags=re.MULTILINE)[1:]
    for area in areas:
        items = re.findall(r"^- (.*)$", area, re.MULTILINE)
        days = [re.fullmatch(r"(20\d\d-\d\d-\d\d): \*\*.*", item) for item in items]
        assert all(days), area
        assert items
        assert [day[1] for day in days if day] == sorted(day[1] for day in days if day), area


def test_the_glossary_has_the_readmes_words_and_every_outcome() -> None:
    first = [line.split(" | ")[0] for line in text_of("docs/glossary.md").splitlines() if line.startswith("| ")]
    words = {word.strip("| ") for cell in first for word in cell.split(",")}
    readme = set(re.findall(r"\*\*(\w+)\*\*", text_of("README.md").partition("docs/glossary.md")[0]))
    assert {word.removesuffix("s") for word in readme} - {word.removesuffix("s") for word in words} == set()
    (outcome,) = [line for line in text_of("docs/glossary.md").splitlines() if line.startswith("| outcome |")]
    assert re.findall(r"\w+", outcome.partition(":")[2]) == [ending.value for ending in Ending]
