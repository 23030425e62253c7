"""The whole atlas of any study: nothing breaks it, the page asks nobody for anything, and many trials fit in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from windrow import atlas
from windrow.atlas import drawing, importance, page
from windrow.looks import style
from windrow.model.backbone import Backbone
from windrow.plural import counted
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


NEED_VALUES = {"error-curves", "marginals", "parallel-coordinates", "accuracy-weights", "accuracy-seconds"}
"""Plots that need a trial that ended ok."""
NEED_TWO_NUMBERS = {"heat-map", "error-curves"}
"""Plots that need two numeric hyper-parameters that differ."""


def drawn(table: Any, folder: Path) -> tuple[Page, str, set[str]]:
    page, *pictures = atlas.write(table, folder)
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    assert not [left for left in folder.iterdir() if left.name.startswith(".")]
    text = page.read_text(encoding="utf-8")
    return Page(text), text, {picture.stem.removeprefix("atlas-") for picture in pictures}


@dataclass(frozen=True)
class Atlas:
    """A study of 60 trials, drawn."""

    table: Any
    page: Page
    text: str
    names: set[str]


@pytest.fixture(scope="module")
def sixty(study: Make, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    table = study(60)
    return Atlas(table, *drawn(table, tmp_path_factory.mktemp("sixty")))


@pytest.fixture
def _page_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The PNGs show the page's very figures and take half of the time: one study's are enough."""
    monkeypatch.setattr(style, "png", lambda figure, title: b"\x89PNG")


@pytest.mark.parametrize("weights", [3_400_000, 0])
def test_weights_are_those_of_the_head_and_of_the_whole_where_heads_learn_from_a_backbone(
    sixty: Atlas, weights: int
) -> None:
    backbone = Backbone("lite", Path("lite.keras"), "d", (224, 224, 3), 64, weights=weights)
    table = replace(sixty.table, backbone=backbone, image=backbone.shape)
    text = Page(page.render(table, importance.evaluate(table), [])).text
    frozen = ", whose 3,400,000 weights stay as they are" if weights else ""
    assert f"An image has 224 x 224 pixels of 3 channels. Every network is a head on lite{frozen}." in text
    assert "weights of the head" in text
    assert ("weights with the backbone" in text) == bool(weights)  # 0 is not known
    assert f"{table.best.weights + weights:,}" in text
    assert "An image has 8 x 8 pixels of 1 channel. " in sixty.page.text


def test_a_study_gives_every_plot_and_a_summary(sixty: Atlas) -> None:
    assert sixty.names == ALL
    assert f"Best is trial {sixty.table.best.number} with a validation error of" in sixty.page.text
    assert "60 trials ended:" in sixty.page.text
    assert "The same in every trial: layers." in sixty.page.text
    assert "Not drawn" not in sixty.page.text
    assert len(sixty.page.all("tr")) == 11, "a head and the best ten"


@pytest.mark.usefixtures("_page_alone")
def test_the_best_error_stands_next_to_that_of_guessing(study: Make, tmp_path: Path) -> None:
    assert "(guessing" not in drawn(study(9), tmp_path)[0].text
    assert " % (guessing: 66.7 %): " in drawn(replace(study(9), guessing=200 / 3), tmp_path)[0].text


def test_the_page_asks_nobody_for_anything(sixty: Atlas) -> None:
    links = [
        value
        for _, attributes in sixty.page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "xlink:href"}
    ]
    assert links
    assert all(str(link).startswith(("#", "data:image/png;base64,")) for link in links)
    assert not re.findall(r"url\((?!#)|@import|<script|<link|<iframe", sixty.text)


NASTY = [
    *("$x^{", "_hidden", "<b>&lt;", "#0072b2", "100 %s {}", "\\frac", "שלום", "👩\u200d🚀", "e\u0301\u0302"),
    *("n" * 300, "|`*"),
]


def test_choices_of_any_printable_characters_are_drawn_as_they_are(study: Make, tmp_path: Path) -> None:
    space = f"""
  learning_rate: {{type: float, low: 1e-4, high: 1e-1, log: true}}
  units: {{type: int, low: 8, high: 128, log: true}}
  kind: {{type: categorical, choices: {json.dumps(NASTY, ensure_ascii=False)}}}
network: {{builder: mine.py:build}}"""
    page, text, names = drawn(study(40, space=space), tmp_path)
    assert names == ALL - {"accuracy-weights"}, "the weights of a user's network are not counted here"
    assert "could not be drawn" not in page.text
    assert "#0072b2" in page.text, "a colour in a name stays a name"
    assert not re.findall(r"<b>&amp;lt;", text), "a name is no element"


def test_a_plot_that_can_not_be_drawn_is_named_and_the_others_are_drawn(
    study: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importance, "draw", lambda *_: 1 / 0)
    monkeypatch.setattr(
        drawing, "untangle", lambda figure: figure.draw_without_rendering() or 0 / (len(figure.axes) - 1)
    )
    warnings: list[str] = []
    page, *pictures = atlas.write(study(20), tmp_path, warnings.append)
    reason = "it could not be drawn: ZeroDivisionError: division by zero"
    assert f"the plot importance is missing from the atlas: {reason}" in warnings
    assert len(warnings) + len(pictures) == len(ALL)
    assert pictures
    assert f"importance: {reason}" in Page(page.read_text(encoding="utf-8")).text


def test_screen_readers_get_headings_and_what_is_seen(sixty: Atlas) -> None:
    pictures = sixty.page.all("svg")
    assert len(pictures) == len(sixty.names)
    assert all(picture["role"] == "img" and len(str(picture["aria-label"])) > 60 for picture in pictures)
    named = [attributes["aria-labelledby"] for attributes in sixty.page.all("section")]
    assert named
    assert set(named) <= {attributes.get("id") for attributes in sixty.page.all("h2")}
    assert sixty.page.all("html")[0]["lang"] == "en"


def test_every_colour_of_the_palette_follows_the_theme(sixty: Atlas) -> None:
    body = sixty.text.partition("</style>")[2]
    assert "var(--c0)" in body
    assert not [colour for colour in style.DARK if colour in body]
    assert "prefers-color-scheme:dark" in sixty.text


def test_no_id_stands_twice(sixty: Atlas) -> None:
    ids = [attributes["id"] for _, attributes in sixty.page.elements if "id" in attributes]
    assert ids
    assert len(ids) == len(set(ids))


def test_drawing_again_gives_the_same_page(sixty: Atlas, tmp_path: Path) -> None:
    assert drawn(sixty.table, tmp_path)[1] == sixty.text


def shows_all_but(missing: set[str], page: Page, names: set[str]) -> bool:
    """Whether every other plot is drawn, and the page says of each of these why it is not."""
    why = page.text.partition("Not drawn")[2]
    assert names == ALL - missing
    assert ("Not drawn" in page.text) == bool(missing)
    return all(f"{name.replace('-', ' ')}: " in why for name in missing)


@pytest.mark.usefixtures("_page_alone")
@pytest.mark.parametrize(
    ("count", "ending", "missing"),
    [
        (0, Ending.OK, ALL),
        (1, Ending.OK, {"heat-map", "error-curves", "importance", "marginals", "parallel-coordinates"}),
        (2, Ending.OK, {"importance"}),
        (30, Ending.DIVERGED, NEED_VALUES | {"importance"}),
        (30, Ending.PRUNED, NEED_VALUES | {"importance"}),
        (5, Ending.FAILED, NEED_VALUES | {"importance", "heat-map", "learning-curves"}),
    ],
)
def test_a_study_with_little_or_nothing_is_drawn_too(
    study: Make, tmp_path: Path, count: int, ending: Ending, missing: set[str]
) -> None:
    page, _, names = drawn(study(count, ended=lambda *_: ending), tmp_path / "out")
    assert f"{counted(count, 'trial')} ended:" in page.text
    assert shows_all_but(missing, page, names)


@pytest.mark.usefixtures("_page_alone")
@pytest.mark.parametrize(
    ("space", "missing"),
    [
        ("{activation: {type: categorical, choices: [relu, tanh]}}", {*NEED_TWO_NUMBERS, "importance"}),
        (
            "{units: {type: int, low: 64, high: 64}}",
            {*NEED_TWO_NUMBERS, "importance", "marginals", "parallel-coordinates"},
        ),
        # All errors are equal here, and importance needs some that are not.
        ("{learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}}", {*NEED_TWO_NUMBERS, "importance"}),
        (
            "{batch_norm: {type: categorical, choices: [true, false]}, dropout: {type: float, low: 0, high: 0}}",
            {*NEED_TWO_NUMBERS, "importance"},
        ),
        (
            "{optimizer: {type: categorical, choices: [adam, sgd]}, "
            "momentum: {type: float, low: 0, high: 0.9, when: {optimizer: sgd}}}",
            {*NEED_TWO_NUMBERS, "importance"},
        ),
        ("{dropout: {type: float, low: 0, high: 0.5}, weight_decay: {type: float, low: 0, high: 0.1}}", set()),
    ],
    ids=["categorical", "one value", "one number", "a constant beside", "conditional", "two that begin at 0"],
)
def test_categorical_conditional_and_constant_parameters_do_not_break_it(
    study: Make, tmp_path: Path, space: str, missing: set[str]
) -> None:
    def value(point: dict[str, Any]) -> float:
        return 0.05 + 0.01 * float(point["dropout"]) + (0.01 if point["activation"] == "tanh" else 0)

    page, _, names = drawn(study(25, lambda *_: Ending.OK, space, value=value), tmp_path / "out")
    assert shows_all_but(missing, page, names)


@pytest.mark.usefixtures("_page_alone")
def test_errors_of_nothing_at_all_are_drawn(study: Make, tmp_path: Path) -> None:
    page, _, names = drawn(study(20, lambda *_: Ending.OK, value=lambda _: 0.0), tmp_path / "out")
    assert shows_all_but({"importance"}, page, names)


@pytest.mark.usefixtures("_page_alone")
def test_what_a_page_says_is_text_and_no_html(study: Make, tmp_path: Path) -> None:
    moods = "{mood: {type: categorical, choices: ['<b>calm', wild]}, learning_rate: {type: float, low: 0.001, high: 1}}"
    table = study(12, lambda *_: Ending.OK, f"{moods}\nnetwork: {{builder: 'mine.py:build'}}")
    text = drawn(table, tmp_path / "out")[1]
    assert "&lt;b&gt;calm" in text
    assert "<b>calm" not in text


@pytest.mark.faults
def test_2000_trials_are_drawn_and_the_page_stays_small(study: Make, tmp_path: Path) -> None:
    _, text, names = drawn(study(2000), tmp_path / "out")
    assert names == ALL
    assert len(text) < 3_000_000
    assert "marks are drawn as one bitmap" in text
    assert all((tmp_path / "out" / f"atlas-{name}.png").stat().st_size < 250_000 for name in names)
