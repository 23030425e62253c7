"""The space that a page with a backbone gets if it has none."""

from __future__ import annotations

import pytest
from windrow import experiment
from windrow.errors import PageError
from windrow.experiment.head_space import HEAD_SPACE

PAGE = "name: a\ndataset: {source: photos}\nnetwork: {backbone: lite0}\n"


def test_a_page_with_a_backbone_and_no_space_gets_one() -> None:
    page = experiment.parse(PAGE)
    assert list(page.space) == list(HEAD_SPACE)
    assert page.space["units"].when == {"layers": (1,)}


def test_a_space_of_the_pages_own_stays_as_it_is() -> None:
    page = experiment.parse(f"{PAGE}space: {{views: {{type: int, low: 1, high: 3}}}}\n")
    assert list(page.space) == ["views"]


def test_a_part_of_a_dimension_can_be_overridden() -> None:
    page = experiment.parse(PAGE, ["space.units.high=128"])
    assert (page.space["units"].low, page.space["units"].high) == (64, 128)  # type: ignore[union-attr]


def test_a_backbone_given_as_an_override_brings_the_space_too() -> None:
    page = experiment.parse("name: a\ndataset: {source: photos}\n", ["network.backbone=lite0"])
    assert list(page.space) == list(HEAD_SPACE)


def test_a_backbone_removed_by_an_override_takes_the_space_with_it() -> None:
    with pytest.raises(PageError, match="space: is missing"):
        experiment.parse(PAGE, ["network.backbone=null"])


def test_overrides_of_the_space_and_the_network_count_in_any_order() -> None:
    overrides = ["space.units.high=128", "network.parameters.dropout=0.3", "network.backbone=lite0"]
    for given in (overrides, overrides[::-1]):
        page = experiment.parse("name: a\ndataset: {source: photos}\n", given)
        assert page.space["units"].high == 128  # type: ignore[union-attr]
        assert set(page.space) == set(HEAD_SPACE) - {"dropout"}


@pytest.mark.parametrize(
    ("fixed", "left"),
    [
        ("layers: 0", {"learning_rate", "dropout", "weight_decay", "label_smoothing"}),
        ("layers: 2", {"learning_rate", "units", "dropout", "weight_decay", "label_smoothing"}),
        ("units: 99", {"learning_rate", "layers", "dropout", "weight_decay", "label_smoothing"}),
        ("dropout: 0.3", {"learning_rate", "layers", "units", "weight_decay", "label_smoothing"}),
    ],
)
def test_what_the_page_or_an_override_sets_is_not_searched(fixed: str, left: set[str]) -> None:
    written = experiment.parse(PAGE.replace("lite0", f"lite0, parameters: {{{fixed}}}"))
    overridden = experiment.parse(PAGE, [f"network.parameters.{fixed.replace(': ', '=')}"])
    assert set(written.space) == set(overridden.space) == left
    assert written == overridden


def test_a_page_that_sets_everything_is_asked_for_a_space() -> None:
    fixed = "learning_rate: 1e-3, layers: 0, dropout: 0.1, weight_decay: 0.1, label_smoothing: 0.1"
    with pytest.raises(PageError, match="space: needs at least one hyper-parameter"):
        experiment.parse(PAGE.replace("lite0", f"lite0, parameters: {{{fixed}}}"))
