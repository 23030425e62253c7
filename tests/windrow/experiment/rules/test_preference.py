"""What promotion.prefer: smallest needs of the rest of a page."""

from __future__ import annotations

import pytest
from windrow.errors import PageError
from windrow.experiment import parse

PAGE = (
    "name: a\nspace: {units: {type: int, low: 1, high: 9}}\npromotion: {seeds: 2, prefer: smallest, tolerance: 0.01}\n"
)
HEADS = "name: a\ndataset: {source: photos, fit: squash}\nnetwork: {backbone: lite0}\n"


def sentences(text: str, *overrides: str) -> list[str]:
    with pytest.raises(PageError) as error:
        parse(text, overrides)
    return [str(problem) for problem in error.value.problems]


def test_the_smallest_is_preferred_only_where_the_page_says_so() -> None:
    assert parse("name: a\nspace: {units: {type: int, low: 1, high: 9}}").promotion.prefer == "best"
    assert parse(PAGE).promotion.tolerance == 0.01


@pytest.mark.parametrize("sweep", ["sweep.objective=val_loss", "sweep.objectives=[val_macro_f1, weights]"])
def test_without_a_cross_validation_only_an_accuracy_can_be_compared_image_by_image(sweep: str) -> None:
    (told,) = sentences(PAGE, sweep)
    assert told.startswith("promotion.prefer (line 3): must be best where val_")
    assert told.endswith(
        "is the objective: networks are compared by the images that they get right; got smallest; take val_accuracy, "
        "or drop it"
    )


def test_cross_validated_finalists_may_have_any_objective_and_bring_their_seeds() -> None:
    page = parse(HEADS + "promotion: {prefer: smallest, tolerance: 0.01}\n")
    assert (page.sweep.objective, page.promotion.train_on, page.promotion.seeds) == ("val_loss", "all", 5)
    (told,) = sentences(HEADS + "promotion: {prefer: smallest, tolerance: 0.01, train_on: train}\n")
    assert "must be best where val_loss is the objective" in told


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "promotion.tolerance=null",
            "--set promotion.tolerance: is missing, and prefer: smallest needs it; add how much worse the smallest "
            "may be, for example 0.002",
        ),
        (
            "promotion.prefer=best",
            "promotion.tolerance (line 3): must be empty where the best finalist wins; got 0.01; "
            "add prefer: smallest, or drop it",
        ),
        (
            "promotion.seeds=1",
            "--set promotion.seeds: must be at least 2 with prefer: smallest, which one seed can't judge; got 1; "
            "for example 5",
        ),
        (
            "promotion.finalists=1",
            "--set promotion.finalists: must be at least 2 with prefer: smallest, which chooses among them; got 1; "
            "raise it",
        ),
        ("promotion.tolerance=1", "--set promotion.tolerance: must be below 1; got 1; lower it"),
    ],
)
def test_a_contradiction_gets_its_sentence(override: str, sentence: str) -> None:
    assert sentences(PAGE, override) == [sentence]
