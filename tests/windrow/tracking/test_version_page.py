"""What MLflow has room for: the description of a version, and the names of its metrics."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from windrow.selection import metrics
from windrow.selection.promotion_result import PromotionResult
from windrow.selection.readout import Readout
from windrow.tracking.promotions.evaluation import figures_of
from windrow.tracking.version_page import LONGEST, LONGEST_UNSIGNED, description, signed

LINKS = {"evaluation": "http://127.0.0.1/#/experiments/1/models/m-1/artifacts"}


def result(lines: int, reason: str = "promoted") -> PromotionResult:
    """A result whose evidence has so many lines of 30 characters."""
    evidence = "\n".join(f"| {line:<26} |" for line in range(lines))
    return PromotionResult("m", "1", reason=reason, value=0.5, evidence=evidence, links=LINKS)


def test_a_description_has_at_most_5000_characters_and_only_lines_of_tables_are_left_out() -> None:
    short, long = description(result(30)), description(result(300))
    table = result(30).evidence.replace(" |", "&ensp;|")
    assert f"{table}\n\nInput: images" in short
    assert LONGEST_UNSIGNED - 60 < len(long) <= LONGEST_UNSIGNED
    shown, _, end = long.partition("\n\nThe rest is in evaluation/promotion.json.")
    assert end == short.partition(table)[2]
    assert shown.endswith("&ensp;|")


def test_a_description_says_which_seeds_network_is_registered() -> None:
    by_validation = description(PromotionResult("m", "1", value=0.5, seeds=5, objective="val_loss", test_images=9))
    assert (
        "val_loss 0.5000, the mean of 5 seeds; the best of them by validation is registered, and was" in by_validation
    )
    folded = description(
        PromotionResult("m", "1", value=0.5, seeds=5, objective="val_loss", test_images=9, cross_validated=True)
    )
    assert "the mean of 5 seeds; the network of the first, trained again on all images but the test's, is" in folded
    assert "by validation" not in folded


def test_columns_of_a_description_do_not_touch_and_a_bar_in_a_label_stays() -> None:
    """MLflow's page draws the cells of a table side by side, without a gap."""
    evidence = "| class | F1 |\n|---|---|\n| a \\| b | 1.0000 |\n\nnot | a table"
    found = description(PromotionResult("m", "1", value=0.5, evidence=evidence))
    assert "| class&ensp;| F1&ensp;|\n|---|---|\n| a \\| b&ensp;| 1.0000&ensp;|\n\nnot | a table\n" in found


def test_ten_classes_with_long_names_and_their_confusions_fit_once_and_in_columns_that_do_not_touch() -> None:
    truth = np.repeat(np.arange(10), 40)
    read = Readout(
        np.where(np.arange(400) % 4 == 0, (truth + 1) % 10, truth), truth, 0.1, np.full(400, 0.9, np.float32)
    )
    figures = metrics.figures(read, [f"{'long ' * 12}{number}" for number in range(10)])
    evidence = metrics.text(figures, read)
    found = description(
        PromotionResult("m", "1", value=0.5, metrics=figures, test_images=400, evidence=evidence, links=LINKS)
    )
    assert "The rest is in" not in found
    assert (
        found.count("| class&ensp;| test images&ensp;| predicted&ensp;| precision&ensp;| recall&ensp;| F1&ensp;|") == 1
    )
    assert found.count(": 10 of 40") == 5
    assert found.replace("&ensp;", " ").count(evidence) == 1


@pytest.mark.parametrize("reason", ["a" * 4000, "a" * 6000])
def test_a_description_with_a_very_long_reason_fits_too(reason: str) -> None:
    found = description(result(300, reason))
    assert len(found) <= LONGEST_UNSIGNED
    assert found.startswith(reason[:LONGEST_UNSIGNED])


def test_who_made_a_version_champion_last_stands_in_its_first_line_and_nothing_else_is_lost() -> None:
    text = description(result(300))
    once = signed(text, "ada", None)
    assert re.match(r"Made champion by ada on \d{4}-\d\d-\d\d\.\n\npromoted\.", once)
    twice = signed(once, "bob" * 100, "3")
    assert re.match(r"Made champion by (bob){33}b on \d{4}-\d\d-\d\d, in place of version 3\.\n\npromoted\.", twice)
    assert twice.endswith(text)
    assert len(twice) <= LONGEST


def test_names_of_metrics_have_at_most_250_characters_and_are_as_many_as_classes() -> None:
    labels = [f"{'long ' * 60}{number}" for number in range(12)]
    truth = np.arange(12)
    read = Readout(truth, truth, 0.1)
    names = [name for name in figures_of(read, metrics.figures(read, labels)) if name.startswith("test_recall_")]
    assert len(names) == 12
    assert max(map(len, names)) <= 250


@pytest.mark.parametrize(
    "labels",
    [("Cat", "cat", "dog"), ("é", "e", "E"), ("a", "a ", " a"), ("|", "$", "_"), ("_ 2", "|", "$"), ("ß", "ss", "SS")],
)
def test_names_of_metrics_differ_also_for_a_database_without_case_and_accents(labels: tuple[str, ...]) -> None:
    """MLflow on MySQL takes two such names for one, and would refuse the figures of a promotion after its training."""
    truth = np.arange(3)
    read = Readout(np.array([0, 1, 1]), truth, 0.1)
    found = figures_of(read, metrics.figures(read, labels))
    names = [name for name in found if name.startswith("test_recall_")]
    plain = ["".join(unicodedata.normalize("NFD", name)).encode("ascii", "ignore").decode().lower() for name in names]
    assert len({name.rstrip() for name in plain}) == 3 or labels[0] == "ß"
    assert len({name.casefold() for name in names}) == 3
    assert [found[name] for name in names] == [1.0, 1.0, 0.0]
