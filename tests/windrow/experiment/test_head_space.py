"""The space that a page with a backbone gets if it has none."""

from __future__ import annotations

import pytest
from windrow import experiment
from windrow.errors import PageError
from windrow.experiment.head_space import HEAD_PARAMETERS, HEAD_SPACE, batch_size

PAGE = "name: a\ndataset: {source: photos}\nnetwork: {backbone: lite0}\n"


def test_a_page_with_a_backbone_and_no_space_gets_one() -> None:
    page = experiment.parse(PAGE)
    assert list(page.space) == list(HEAD_SPACE)


def test_a_space_of_the_pages_own_stays_as_it_is() -> None:
    page = experiment.parse(f"{PAGE}space: {{views: {{type: int, low: 1, high: 3}}}}\n")
    assert list(page.space) == ["views"]


def test_a_part_of_a_dimension_can_be_overridden() -> None:
    page = experiment.parse(PAGE, ["space.units.high=256"])
    assert (page.space["units"].low, page.space["units"].high) == (128, 256)  # type: ignore[union-attr]
    assert experiment.parse(PAGE).space["units"].high == 512  # type: ignore[union-attr]


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


SET = {"units": 99, "dropout": 0.3, "fit": "crop", "weight_decay": 0.1}


@pytest.mark.parametrize(
    ("fixed", "left"),
    [
        ("layers: 0", set(HEAD_SPACE) - {"units"}),
        ("layers: 2", set(HEAD_SPACE)),
        *((f"{name}: {value}", set(HEAD_SPACE) - {name}) for name, value in SET.items()),
    ],
)
def test_what_the_page_or_an_override_sets_is_not_searched(fixed: str, left: set[str]) -> None:
    written = experiment.parse(PAGE.replace("lite0", f"lite0, parameters: {{{fixed}}}"))
    overridden = experiment.parse(PAGE, [f"network.parameters.{fixed.replace(': ', '=')}"])
    assert set(written.space) == set(overridden.space) == left
    assert written == overridden


def test_the_space_goes_with_values_that_a_page_can_replace() -> None:
    assert experiment.parse(PAGE).network.parameters == {**HEAD_PARAMETERS, "fit": "squash"}
    page = experiment.parse(PAGE, ["network.parameters.decay=none", "network.parameters.momentum=0.5"])
    assert page.network.parameters == {**HEAD_PARAMETERS, "decay": "none", "momentum": 0.5, "fit": "squash"}
    linear = experiment.parse(PAGE, ["network.parameters.layers=0"]).network.parameters
    assert linear == {"layers": 0, "decay": "cosine", "weight_decay": 0.1, "class_weight": "balanced", "fit": "squash"}
    own = experiment.parse(f"{PAGE}space: {{views: {{type: int, low: 1, high: 3}}}}\n")
    assert own.network.parameters == {}


def test_the_space_is_searched_for_the_smallest_loss_unless_the_page_says_otherwise() -> None:
    assert experiment.parse(PAGE).sweep.objective == "val_loss"
    assert experiment.parse(f"{PAGE}sweep: {{trials: 3}}\n").sweep.objective == "val_loss"
    assert experiment.parse(PAGE, ["sweep.objective=val_macro_f1"]).sweep.objective == "val_macro_f1"
    own = experiment.parse(f"{PAGE}space: {{views: {{type: int, low: 1, high: 3}}}}\n")
    assert own.sweep.objective == "val_accuracy"


FIT = "space: {fit: {type: categorical, choices: [squash, crop]}}\n"
NO_FIT = "space: {units: {type: int, low: 1, high: 9}}\n"


@pytest.mark.parametrize(
    ("rest", "overrides", "fit", "parameter", "searched"),
    [
        ("", [], "both", "squash", True),
        ("", ["dataset.fit=crop"], "crop", None, False),
        ("", ["network.parameters.fit=crop"], "crop", None, False),
        ("", ["network.parameters.fit=squash"], "squash", None, False),
        ("", ["network.parameters.fit=crop", "dataset.fit=both"], "both", "crop", False),
        (FIT, [], "both", "squash", True),
        (FIT, ["network.parameters.fit=crop"], "both", "crop", True),
        (NO_FIT, [], "squash", None, False),
        (NO_FIT, ["dataset.fit=crop"], "crop", None, False),
        (NO_FIT, ["network.parameters.fit=crop"], "crop", None, False),
    ],
)
def test_with_a_backbone_the_search_chooses_how_images_fit_unless_page_or_space_say_otherwise(
    rest: str, overrides: list[str], fit: str, parameter: str | None, searched: bool
) -> None:
    page = experiment.parse(PAGE + rest, overrides)
    assert (page.dataset.fit, page.network.parameters.get("fit"), "fit" in page.space) == (fit, parameter, searched)


def test_without_a_backbone_images_are_squashed() -> None:
    page = experiment.parse("name: a\ndataset: {source: photos, image_size: 8}\n" + NO_FIT)
    assert page.dataset.fit == "squash"


def test_a_page_that_sets_everything_is_asked_for_a_space() -> None:
    fixed = "fit: crop, learning_rate: 1e-3, layers: 0, dropout: 0.1, weight_decay: 0.1, label_smoothing: 0.1"
    with pytest.raises(PageError, match="space: needs at least one hyper-parameter"):
        experiment.parse(PAGE.replace("lite0", f"lite0, parameters: {{{fixed}}}"))


@pytest.mark.parametrize(
    ("images", "wanted"),
    [
        (0, 4),
        (1, 4),
        (30, 4),
        (128, 4),
        (129, 8),
        (256, 8),
        (257, 16),
        (512, 16),
        (1722, 64),
        (2049, 128),
        (3000, 128),
        (10**6, 128),
    ],
)
def test_few_images_make_several_steps_an_epoch_and_many_make_large_ones(images: int, wanted: int) -> None:
    assert batch_size(images) == wanted


def test_the_batch_size_follows_the_images_unless_the_page_has_one_and_is_no_part_of_the_search() -> None:
    page = experiment.parse(PAGE)
    assert page.network.sized(30).defaults()["batch_size"] == 4
    few = page.model_copy(update={"network": page.network.sized(30)})
    assert few.search_digest() == page.search_digest()
    assert experiment.parse(PAGE, ["network.parameters.batch_size=99"]).network.sized(30).defaults()["batch_size"] == 99
    dense = experiment.parse("name: a\nspace: {units: {type: int, low: 1, high: 9}}\n")
    assert dense.network.sized(30).defaults() == dense.network.defaults()


def test_a_promotion_with_a_backbone_has_other_defaults_which_a_page_can_replace() -> None:
    section = experiment.parse(PAGE).promotion
    assert (section.train_on, section.seeds, section.finalists) == ("all", 5, 6)
    own = experiment.parse(PAGE, ["promotion.seeds=2"]).promotion
    assert (own.train_on, own.seeds, own.finalists) == ("all", 2, 6)
    without = experiment.parse("name: a\nspace: {units: {type: int, low: 1, high: 9}}\n").promotion
    assert (without.train_on, without.seeds, without.finalists) == ("train", 1, 3)
