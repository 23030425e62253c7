"""What a page makes of its champion's point."""

from __future__ import annotations

import pytest
from windrow.experiment import parse
from windrow.sweep.sampling.champion_point import ChampionPoint, ChampionRecord, champion_point

PAGE = """
name: a
network: {builder: cnn, parameters: {decay: cosine}}
space:
  optimizer: {type: categorical, choices: [adam, sgd]}
  momentum: {type: float, low: 0.5, high: 0.99, when: {optimizer: sgd}}
  filters: {type: int, low: 8, high: 32, step: 8}
constraints: ["filters <= 16 or optimizer == 'adam'"]
"""
MADE = {"optimizer": "sgd", "momentum": 0.7, "filters": 16, "decay": "cosine", "units": 64, "learning_rate": 0.001}


def tried(builder: str = "cnn", **parameters: bool | float | str | None) -> ChampionPoint:
    made = {name: value for name, value in {**MADE, **parameters}.items() if value is not None}
    point = champion_point(parse(PAGE), ChampionRecord("m", "3", builder, made))
    assert ChampionPoint.of(point.to_json()) == point
    return point


def test_the_champions_values_of_the_space_are_tried() -> None:
    assert tried().point == {"optimizer": "sgd", "momentum": 0.7, "filters": 16}
    assert tried().text == "the point of the champion, m version 3, is among the first trials"


def test_what_the_page_does_not_search_is_the_pages_and_is_said() -> None:
    assert tried(units=128, decay="none").point == tried().point
    assert tried(units=128, decay="none").text.endswith(
        ", with this page's decay 'cosine' in place of 'none', units 64 in place of 128"
    )


def test_a_dimension_whose_condition_does_not_hold_is_left_out() -> None:
    assert tried(optimizer="adam", filters=32).point == {"optimizer": "adam", "filters": 32}


def test_a_parameter_that_the_champion_did_not_have_is_the_pages_if_that_is_in_the_space() -> None:
    assert tried(momentum=None).point == {"optimizer": "sgd", "momentum": 0.9, "filters": 16}


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"filters": 12}, "its filters 12 is outside the space (8 to 32 in steps of 8)"),
        ({"filters": 64}, "its filters 64 is outside the space (8 to 32 in steps of 8)"),
        ({"optimizer": "lion"}, "its optimizer 'lion' is outside the space ('adam', 'sgd')"),
        ({"filters": 24}, "it breaks the constraint filters <= 16 or optimizer == 'adam'"),
        ({"builder": "dense"}, "it has the network dense, and this page has cnn"),
    ],
)
def test_a_point_that_the_page_forbids_is_not_tried_and_the_reason_is_said(
    made: dict[str, str | float], why: str
) -> None:
    point = tried(**made)  # type: ignore[arg-type]
    assert (point.point, point.version) == (None, "3")
    assert point.text == f"the point of the champion, m version 3, is not tried: {why}"


def test_a_parameter_of_a_users_network_without_a_default_must_be_known() -> None:
    page = parse("name: a\nnetwork: {builder: 'n.py:build'}\nspace: {width: {type: int, low: 1, high: 9}}\n")
    point = champion_point(page, ChampionRecord("m", "1", "n.py:build", {"depth": 3}))
    assert point.text.endswith("is not tried: it has no width, which this page searches")
