"""What promotion.fine_tune needs of the rest of a page."""

from __future__ import annotations

import pytest
from windrow.errors import PageError
from windrow.experiment import FineTuneSection, keys, parse
from windrow.experiment.rules import fine_tune
from windrow.model.backbones import lite0

PAGE = "name: a\ndataset: {source: photos}\nnetwork: {backbone: lite0}\npromotion:\n  seeds: 5\n"


def sentences(text: str, *overrides: str) -> list[str]:
    with pytest.raises(PageError) as error:
        parse(text, overrides)
    return [str(problem) for problem in error.value.problems]


def test_without_the_key_nothing_is_fine_tuned() -> None:
    assert parse(PAGE).promotion.fine_tune is None


def test_each_key_has_a_default() -> None:
    page = parse(PAGE + "  fine_tune: {epochs: 2}\n")
    default = FineTuneSection()
    assert page.promotion.fine_tune == FineTuneSection(blocks=default.blocks, epochs=2)


def test_an_override_may_bring_a_part_of_the_section_or_change_it() -> None:
    assert parse(PAGE, ["promotion.fine_tune.epochs=3"]).promotion.fine_tune == FineTuneSection(epochs=3)
    changed = parse(PAGE + "  fine_tune: {epochs: 2, blocks: 1}\n", ["promotion.fine_tune.epochs=3"])
    assert changed.promotion.fine_tune == FineTuneSection(epochs=3, blocks=1)
    assert "promotion.fine_tune.learning_rate" in keys()


def test_an_override_may_switch_it_off_and_another_then_on_again() -> None:
    off = "promotion.fine_tune=null"
    assert parse(PAGE + "  fine_tune: {epochs: 2}\n", [off]) == parse(PAGE)
    again = parse(PAGE + "  fine_tune: {epochs: 2}\n", [off, "promotion.fine_tune.blocks=3"])
    assert again.promotion.fine_tune == FineTuneSection(blocks=3)


def test_a_network_that_is_no_section_is_the_only_mistake() -> None:
    text = PAGE.replace("{backbone: lite0}", "3") + "  fine_tune: {epochs: 2}\n"
    (told,) = sentences(text + "space: {units: {type: int, low: 1, high: 9}}\n", "dataset.fit=both")
    assert told.startswith("network (line 3): must be a section with keys under it; got 3")


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("{blocks: 0}", "promotion.fine_tune.blocks (line 6): must be at least 1; got 0; raise it"),
        (
            "{blocks: 17}",
            "promotion.fine_tune.blocks (line 6): must be at most 16 for lite0, which has so many; got 17; lower it",
        ),
        ("{learning_rate: 1}", "promotion.fine_tune.learning_rate (line 6): must be at most 0.1; got 1; lower it"),
        ("{epoch: 1}", "promotion.fine_tune.epoch (line 6): unknown key; did you mean epochs?"),
        (
            "3",
            "promotion.fine_tune (line 6): must be a section with keys under it; got 3; write KEY: VALUE, one a line",
        ),
    ],
)
def test_a_wrong_value_is_named(written: str, sentence: str) -> None:
    assert sentences(f"{PAGE}  fine_tune: {written}\n")[0].startswith(sentence)


def test_a_page_without_a_backbone_has_nothing_to_fine_tune() -> None:
    text = "name: a\nspace: {units: {type: int, low: 1, high: 9}}\npromotion: {seeds: 2, fine_tune: {}}\n"
    assert sentences(text) == [
        "promotion.fine_tune (line 3): needs network.backbone, whose last blocks it trains; got none; "
        "add backbone: lite0, or drop it"
    ]


def test_one_seed_is_too_few_to_judge_by() -> None:
    assert sentences(PAGE, "promotion.seeds=1", "promotion.fine_tune.epochs=3") == [
        "--set promotion.seeds: must be at least 2 where promotion.fine_tune is set, which one seed can't judge; "
        "got 1; for example 5"
    ]


def test_the_number_of_blocks_is_that_of_the_network() -> None:
    assert {"lite0": sum(stage[0] for stage in lite0.STAGES)} == fine_tune.BLOCKS
