"""The pictures of mistakes: what they count and say, and that odd splits draw too."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from windrow.looks import style
from windrow.selection import pictures

TRUTH = np.array([0, 0, 1, 1, 2, 2])
PREDICTED = np.array([0, 1, 1, 1, 0, 0])
LABELS = ("cat", "dog", "a label that is far too long for its place")
WIDE = round(style.WIDTH * style._DOTS)  # pixels


def opened(content: bytes) -> Any:
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    return image


def images(count: int, channels: int = 1) -> Any:
    return np.random.default_rng(1).integers(0, 256, (count, 8, 8, channels), np.uint8)


def test_images_are_counted_by_true_and_predicted_class() -> None:
    assert pictures.confusion_counts(TRUTH, PREDICTED, 3).tolist() == [[1, 1, 0], [0, 2, 0], [2, 0, 0]]


def test_the_confusion_says_how_many_are_wrong_and_what_is_taken_for_what() -> None:
    counts = pictures.confusion_counts(TRUTH, PREDICTED, 3)
    title = pictures._confusion_title(counts, counts - np.diag(np.diag(counts)), LABELS)
    assert title == "3 of 6 test images are labelled wrong; most often a label tha… as cat, 2 times"


@pytest.mark.parametrize("classes", [2, 10, 25, 300])
def test_any_number_of_classes_draws_small(classes: int) -> None:
    truth = np.arange(1000) % classes
    content = pictures.confusion(truth, np.roll(truth, 1), [f"class {number}" for number in range(classes)])
    assert opened(content).width == WIDE
    assert len(content) < 150_000


def test_a_mistake_changes_the_picture() -> None:
    right, wrong = pictures.confusion(TRUTH, TRUTH, LABELS), pictures.confusion(TRUTH, PREDICTED, LABELS)
    assert opened(right).size != opened(wrong).size or right != wrong


def test_a_picture_is_the_same_bytes_each_time() -> None:
    assert pictures.confusion(TRUTH, PREDICTED, LABELS) == pictures.confusion(TRUTH, PREDICTED, LABELS)


@pytest.mark.parametrize("channels", [1, 3])
def test_misclassified_images_are_shown_in_rows_of_six(channels: int) -> None:
    many, truth = images(50, channels), np.zeros(50, int)
    low = opened(pictures.misclassified(many, truth, np.eye(50, dtype=int)[0], ("a", "b")))
    high = opened(pictures.misclassified(many, truth, truth + 1, ("a", "b")))
    assert high.height > 4 * low.height, "36 of 50 mistakes are six rows; one mistake is one"


def test_the_title_says_when_not_all_mistakes_are_shown() -> None:
    assert pictures._misclassified_title(100, 50, 36).endswith("true → predicted; 36 of them")
    assert pictures._misclassified_title(100, 5, 5) == "5 of 100 test images are labelled wrong: true → predicted"


def test_no_mistake_is_a_picture_too() -> None:
    assert opened(pictures.misclassified(images(6), TRUTH, TRUTH, LABELS)).width == WIDE
    assert pictures._misclassified_title(6, 0, 0) == "None of 6 test images is labelled wrong"
