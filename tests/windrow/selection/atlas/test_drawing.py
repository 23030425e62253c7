"""The whole atlas of any study: nothing breaks it, the page asks nobody for anything, and many trials draw in time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from windrow.selection import atlas
from windrow.selection.atlas import style
from windrow.sweep.outcomes import Ending

Make = Callable[..., Any]
ALL = {
    *("heat-map", "error-curves", "importance", "marginals", "parallel-coordinates", "learning-curves"),
    *("accuracy-weights", "accuracy-seconds", "timeline", "speed-up"),
}


class Page(HTMLParser):
    """A page's elements: (tag, attributes), and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def drawn(table: Any, folder: Path) -> tuple[Page, str, set[str]]:
    page, *pictures = atlas.write(table, folder)
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    assert not [left for left in folder.iterdir() if left.name.startswith(".")]
    text = page.read_text(encoding="utf-8")
    return Page(text), text, {picture.stem.removeprefix("atlas-") for picture in pictures}


def test_a_study_gives_every_plot_and_a_summary(study: Make, tmp_path: Path) -> None:
    table = study(60)
    page, _, names = drawn(table, tmp_path / "out")
    assert names == ALL
    assert f"Best is trial {table.best.number} with a validation error of" in page.text
    assert "60 trials ended:" in page.text
    assert "The same in every trial: layers." in page.text
    assert len(page.all("tr")) == 11, "a head and the best ten"


def test_the_page_asks_nobody_for_anything(study: Make, tmp_path: Path) -> None:
    page, text, _ = drawn(study(60), tmp_path)
    links = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "xlink:href"}
    ]
    assert links
    assert all(str(link).startswith(("#", "data:image/png;base64,")) for link in links)
    assert not re.findall(r"url\((?!#)|@import|<script|<link|<iframe", text)


def test_screen_readers_get_headings_and_what_is_seen(study: Make, tmp_path: Path) -> None:
    page, _, names = drawn(study(60), tmp_path)
    pictures = page.all("svg")
    assert len(pictures) == len(names)
    assert all(picture["role"] == "img" and len(str(picture["aria-label"])) > 60 for picture in pictures)
    named = [attributes["aria-labelledby"] for attributes in page.all("section")]
    assert set(named) <= {attributes.get("id") for attributes in page.all("h2")}
    assert page.all("html")[0]["lang"] == "en"


def test_every_colour_of_the_palette_follows_the_theme(study: Make, tmp_path: Path) -> None:
    _, text, _ = drawn(study(60), tmp_path)
    body = text.partition("</style>")[2]
    assert "var(--c0)" in body
    assert not [colour for colour in style.DARK if colour in body]
    assert "prefers-color-scheme:dark" in text


def test_no_id_stands_twice(study: Make, tmp_path: Path) -> None:
    page, _, _ = drawn(study(60), tmp_path)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("count", "ending"),
    [(0, Ending.OK), (1, Ending.OK), (2, Ending.OK), (30, Ending.DIVERGED), (30, Ending.PRUNED), (5, Ending.FAILED)],
)
def test_a_study_with_little_or_nothing_is_drawn_too(study: Make, tmp_path: Path, count: int, ending: Ending) -> None:
    page, _, names = drawn(study(count, ended=lambda *_: ending), tmp_path / "out")
    assert f"{count} trials ended:" in page.text
    assert len(names) + page.text.count("Not drawn") >= 1
    for name in ALL - names:
        assert f"{name.replace('-', ' ')}: " in page.text, "why it is not drawn"


@pytest.mark.parametrize(
    "space",
    [
        "{activation: {type: categorical, choices: [relu, tanh]}}",
        "{units: {type: int, low: 64, high: 64}}",
        "{learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}}",
        "{batch_norm: {type: categorical, choices: [true, false]}, dropout: {type: float, low: 0, high: 0}}",
        "{optimizer: {type: categorical, choices: [adam, sgd]}, "
        "momentum: {type: float, low: 0, high: 0.9, when: {optimizer: sgd}}}",
        "{dropout: {type: float, low: 0, high: 0.5}, weight_decay: {type: float, low: 0, high: 0.1}}",
    ],
)
def test_categorical_conditional_and_constant_parameters_do_not_break_it(
    study: Make, tmp_path: Path, space: str
) -> None:
    def value(point: dict[str, Any]) -> float:
        return 0.05 + 0.01 * float(point["dropout"]) + (0.01 if point["activation"] == "tanh" else 0)

    names = drawn(study(25, lambda *_: Ending.OK, space, value=value), tmp_path / "out")[2]
    assert {"learning-curves", "accuracy-seconds", "timeline", "speed-up"} <= names


def test_errors_of_nothing_at_all_are_drawn(study: Make, tmp_path: Path) -> None:
    assert "heat-map" in drawn(study(20, lambda *_: Ending.OK, value=lambda _: 0.0), tmp_path / "out")[2]


def test_what_a_page_says_is_text_and_no_html(study: Make, tmp_path: Path) -> None:
    moods = "{mood: {type: categorical, choices: ['<b>calm', wild]}, learning_rate: {type: float, low: 0.001, high: 1}}"
    table = study(12, lambda *_: Ending.OK, f"{moods}\nnetwork: {{builder: 'mine.py:build'}}")
    text = drawn(table, tmp_path / "out")[1]
    assert "&lt;b&gt;calm" in text
    assert "<b>calm" not in text


def test_drawing_again_gives_the_same_page(study: Make, tmp_path: Path) -> None:
    table = study(30)
    assert drawn(table, tmp_path / "one")[1] == drawn(table, tmp_path / "two")[1]


@pytest.mark.timeout(600)
def test_2000_trials_are_drawn_in_30_seconds_of_one_core(study: Make, tmp_path: Path) -> None:
    table = study(2000)
    begin = time.process_time()
    _, text, names = drawn(table, tmp_path / "out")
    assert time.process_time() - begin < 30
    assert names == ALL
    assert len(text) < 3_000_000
    assert "marks are drawn as one bitmap" in text
    assert all((tmp_path / "out" / f"atlas-{name}.png").stat().st_size < 250_000 for name in names)
