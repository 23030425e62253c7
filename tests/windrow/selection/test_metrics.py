"""A network's metrics on the test split: what scikit-learn computes, what is not defined, and the words around it."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.selection import metrics
from windrow.selection.readout import Readout

LABELS = ("cat", "dog", "bird")
TRUTH = np.array([0, 0, 0, 0, 1, 1, 1, 1])
PREDICTED = np.array([0, 0, 0, 1, 1, 1, 0, 0])


def read(predicted: Any = PREDICTED, truth: Any = TRUTH, confidence: Any = None) -> Readout:
    kept = None if confidence is None else np.asarray(confidence, np.float32)
    return Readout(np.asarray(predicted), np.asarray(truth), 0.1, kept)


def test_the_metrics_are_those_computed_by_hand() -> None:
    cat, dog, _ = metrics.figures(read(), LABELS)["classes"]
    assert (cat["images"], cat["predicted"], dog["images"], dog["predicted"]) == (4, 5, 4, 3)
    assert (cat["precision"], cat["recall"]) == (pytest.approx(3 / 5), pytest.approx(3 / 4))
    assert (dog["precision"], dog["recall"]) == (pytest.approx(2 / 3), pytest.approx(2 / 4))
    f1 = 2 * 3 / (4 + 5), 2 * 2 / (4 + 3)
    assert (cat["f1"], dog["f1"]) == pytest.approx(f1)
    assert metrics.macro_f1(read()) == pytest.approx(sum(f1) / 2), "a class that does not occur does not count"


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 2), min_size=1, max_size=30))
def test_macro_f1_is_scikit_learns_over_the_classes_that_have_test_images(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import f1_score

    truth, predicted = np.array(pairs).T
    each = f1_score(truth, predicted, labels=range(5), average=None, zero_division=0)
    assert metrics.macro_f1(read(predicted, truth)) == pytest.approx(each[np.unique(truth)].mean())


def test_a_class_added_since_the_champion_was_trained_does_not_lower_macro_f1_on_the_common_images() -> None:
    """Of 96 images, 50 and 46 of two classes, 5 are taken for a third class, which has none of the images."""
    truth = np.repeat([0, 1], [50, 46])
    predicted = np.where(np.isin(np.arange(96), [0, 1, 2, 50, 51]), 2, truth)
    f1 = 2 * 47 / (50 + 47), 2 * 44 / (46 + 44)
    assert metrics.macro_f1(read(predicted, truth)) == pytest.approx(sum(f1) / 2)
    assert read(predicted, truth).accuracy == pytest.approx(91 / 96)


def test_images_are_counted_by_true_and_predicted_class() -> None:
    assert metrics.confusion(read(), 3).tolist() == [[3, 1, 0], [2, 2, 0], [0, 0, 0]]


def test_a_class_without_test_images_has_no_recall_and_there_is_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        never, only_predicted = (
            metrics.figures(read(predicted), LABELS)["classes"][2] for predicted in (PREDICTED, [2, *PREDICTED[1:]])
        )
    assert (never["images"], never["precision"], never["recall"], never["f1"]) == (0, None, None, None)
    assert (only_predicted["predicted"], only_predicted["precision"], only_predicted["recall"]) == (1, 0.0, None)


def test_a_class_that_is_never_predicted_has_no_precision_and_a_recall_of_0() -> None:
    dog = metrics.figures(read(np.zeros(8, int)), LABELS)["classes"][1]
    assert (dog["precision"], dog["recall"], dog["f1"]) == (None, 0.0, 0.0)


def test_the_calibration_error_is_that_computed_by_hand() -> None:
    # Five images at 0.9, of which three are right; three at 0.5, of which two are right.
    found = metrics.calibration(read(confidence=[0.9, 0.9, 0.9, 0.9, 0.5, 0.5, 0.9, 0.5]))
    assert found is not None
    assert found.images.tolist() == [3, 5]
    assert found.accuracy == pytest.approx([2 / 3, 3 / 5])
    assert found.error == pytest.approx(3 / 8 * (2 / 3 - 0.5) + 5 / 8 * (0.9 - 3 / 5))
    assert found.excess == pytest.approx(3 / 8 * (0.5 - 2 / 3) + 5 / 8 * (0.9 - 3 / 5))


def by_hand(hits: Any, confidence: Any) -> float:
    """The expected calibration error, as the paper's equation has it: bins ((m - 1) / M, m / M]."""
    total = 0.0
    for upper in range(1, metrics.BINS + 1):
        inside = (confidence > (upper - 1) / metrics.BINS) & (confidence <= upper / metrics.BINS)
        if inside.any():
            total += inside.sum() / len(hits) * abs(hits[inside].mean() - confidence[inside].mean())
    return total


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0078125, 1, width=32)), min_size=1, max_size=60))
def test_the_calibration_error_is_the_papers_whatever_was_predicted(images: list[tuple[bool, float]]) -> None:
    hits, confidence = np.array([hit for hit, _ in images]), np.array([sure for _, sure in images], np.float32)
    found = metrics.calibration(read(np.where(hits, 0, 1), np.zeros(len(hits), int), confidence))
    assert found is not None
    assert found.images.sum() == len(hits)
    assert found.error == pytest.approx(by_hand(hits, confidence.astype(np.float64)), abs=1e-6)
    assert found.accuracy @ found.images == pytest.approx(hits.sum())


@pytest.mark.parametrize("odd", [1.0000001, float("nan"), -1e-9])
def test_a_confidence_that_is_no_probability_is_taken_as_the_nearest(odd: float) -> None:
    found = metrics.calibration(read(confidence=[odd, *[0.5] * 7]))
    assert found is not None
    assert 0 <= found.error <= 1
    assert found.images.sum() == 8


def test_without_confidences_there_is_no_calibration() -> None:
    assert metrics.figures(read(), LABELS)["ece"] is None
    assert "calibration" not in metrics.text(metrics.figures(read(), LABELS), read())


@given(st.integers(2, 30), st.data())
def test_the_metrics_of_any_split_are_json_and_have_a_class_each(classes: int, data: st.DataObject) -> None:
    drawn = st.lists(st.integers(0, classes - 1), min_size=9, max_size=9)
    answers = read(data.draw(drawn), data.draw(drawn), [0.7] * 9)
    found = metrics.figures(answers, [f"c|{number}" for number in range(classes)])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert sum(each["images"] for each in found["classes"]) == 9
    assert 0 <= found["macro_f1"] <= 1
    text, _, confusions = metrics.text(found, answers).replace("\\|", "").partition("\n\n")[2].partition("\n\n")
    lines = text.splitlines()
    assert len(lines) == 2 + (
        classes if classes <= metrics.MOST_ROWS else min(metrics.MOST_ROWS, len(metrics.worst(found["classes"])))
    )
    assert bool(confusions) == (answers.errors > 0)
    assert confusions.count(" taken for ") <= min(5, answers.errors)
    assert {line.count("|") for line in lines} == {7}


def test_the_text_has_a_line_a_class_in_their_order() -> None:
    answers = read(confidence=[0.5] * 8)
    lines = metrics.text(metrics.figures(answers, LABELS), answers).splitlines()
    assert lines[0] == "The challenger on 8 test images: macro-F1 0.6190, expected calibration error 0.1250 (15 bins)."
    assert lines[4:7] == [
        "| cat | 4 | 5 | 0.6000 | 0.7500 | 0.6667 |",
        "| dog | 4 | 3 | 0.6667 | 0.5000 | 0.5714 |",
        "| bird | 0 | 0 | - | - | - |",
    ]


def test_of_many_classes_the_ten_with_the_lowest_recall_are_shown() -> None:
    truth = np.repeat(np.arange(30), 10)
    wrong = np.tile(np.arange(10), 30) < truth % 11  # class 10 has no hit, class 21 as well
    answers = read(np.where(wrong, 0, truth), truth)
    found = metrics.figures(answers, [f"class {number}" for number in range(30)])
    lines = metrics.text(found, answers).splitlines()
    assert "The 10 of 30 classes with the lowest recall:" in lines[0]
    assert lines[14] == ""
    assert lines[4].startswith("| class 10 | 10 | 0 | - | 0.0000 |")
    ten = metrics.figures(answers, [f"class {number}" for number in range(30)])["classes"][:10]
    assert "lowest recall" not in metrics.text({**found, "classes": ten}, answers.on(truth < 10))


def test_the_largest_confusions_stand_below_the_table_with_their_share_of_the_class() -> None:
    """Of 40 boots 7 are taken for sandals and 2 for shoes, and of 30 sandals 2 for boots."""
    truth = np.repeat([0, 1, 2], [40, 30, 20])
    predicted = truth.copy()
    predicted[:7], predicted[7:9], predicted[40:42] = 1, 2, 0
    answers = read(predicted, truth)
    shown = metrics.text(metrics.figures(answers, ("boot", "sandal", "shoe")), answers)
    assert shown.endswith(
        " |\n\nConfusions:\n\n"
        "- boot taken for sandal: 7 of 40\n- sandal taken for boot: 2 of 30\n- boot taken for shoe: 2 of 40"
    )


def test_of_many_confusions_the_five_largest_are_shown_and_without_errors_none() -> None:
    truth = np.repeat(np.arange(8), 10)
    predicted = np.where(np.arange(80) % 10 <= np.arange(80) // 10, (truth + 1) % 8, truth)
    labels = [str(number) for number in range(8)]
    wrong, right = read(predicted, truth), read(truth, truth)
    shown = metrics.text(metrics.figures(wrong, labels), wrong).partition("\n\nThe 5 largest of 8 confusions:\n\n")[2]
    assert shown.splitlines()[0] == "- 7 taken for 0: 8 of 10"
    assert shown.splitlines()[4:] == ["- 3 taken for 4: 4 of 10"]
    assert "onfusion" not in metrics.text(metrics.figures(right, labels), right)


def test_a_long_name_is_cut_in_the_table() -> None:
    assert f"| {'x' * 39}… |" in metrics.text(metrics.figures(read(), ("x" * 60, "dog", "bird")), read())
