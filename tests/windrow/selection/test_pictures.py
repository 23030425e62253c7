"""The pictures of mistakes: what they count and say, and that odd splits draw too."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from windrow.looks import style
from windrow.selection import metrics, pictures
from windrow.selection.readout import Readout

TRUTH = np.array([0, 0, 1, 1, 2, 2])
PREDICTED = np.array([0, 1, 1, 1, 0, 0])
LABELS = ("cat", "dog", "a label that is far too long for its place")
WIDE = round(style.WIDTH * style._DOTS)  # pixels


def opened(content: bytes) -> Any:
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    return image


def counted(predicted: Any, truth: Any = TRUTH, classes: int = 3) -> Any:
    return metrics.confusion(Readout(predicted, truth, 0.1), classes)


def images(count: int, channels: int = 1) -> Any:
    return np.random.default_rng(1).integers(0, 256, (count, 8, 8, channels), np.uint8)


def test_the_confusion_says_how_many_are_wrong_and_what_is_taken_for_what() -> None:
    counts = counted(PREDICTED)
    title = pictures._confusion_title(counts, counts - np.diag(np.diag(counts)), LABELS)
    assert title == "3 of 6 test images are labelled wrong; most often a label tha… as cat, 2 times"


@pytest.mark.parametrize("classes", [2, 10, 25, 300])
def test_any_number_of_classes_draws_small(classes: int) -> None:
    truth = np.arange(1000) % classes
    counts = counted(np.roll(truth, 1), truth, classes)
    content = pictures.confusion(counts, [f"class {number}" for number in range(classes)])
    assert opened(content).width == WIDE
    assert len(content) < 150_000


def test_a_mistake_changes_the_picture() -> None:
    right, wrong = pictures.confusion(counted(TRUTH), LABELS), pictures.confusion(counted(PREDICTED), LABELS)
    assert opened(right).size != opened(wrong).size or right != wrong


def test_a_picture_is_the_same_bytes_each_time() -> None:
    read = Readout(PREDICTED, TRUTH, 0.1, np.linspace(0.4, 1, 6).astype(np.float32))
    drawn = pictures.draw(read, images(6), LABELS)
    assert drawn == pictures.draw(read, images(6), LABELS)
    assert sorted(drawn) == ["confusion.png", "misclassified.png", "reliability.png"]


@pytest.mark.parametrize("channels", [1, 3])
def test_misclassified_images_are_shown_in_rows_of_six(channels: int) -> None:
    many, truth = images(50, channels), np.zeros(50, int)
    low = opened(pictures.misclassified(many, truth, np.eye(50, dtype=int)[0], ("a", "b")))
    high = opened(pictures.misclassified(many, truth, truth + 1, ("a", "b")))
    assert high.height > 4 * low.height, "36 of 50 mistakes are six rows; one mistake is one"


def test_long_names_stand_on_two_lines_so_that_none_reaches_into_the_next_images_place() -> None:
    widest = 0.9 * style.WIDTH / 6 * 72 / 5.5  # ems of the small letters, of which each takes about a half
    for true, predicted in itertools.product(("7", "ants", "a label", LABELS[2]), repeat=2):
        text, size = pictures._names(true, predicted)
        assert 0.5 * max(map(len, text.splitlines())) * size / 5.5 < widest, text
        assert text.replace("\n", " ").startswith(f"{pictures._short(true)} → ")


def test_images_of_any_shape_keep_it_and_stay_in_their_place() -> None:
    white = np.full((2, 20, 60, 3), 255, np.uint8)
    white[:, :, 30:] = (250, 0, 0)
    shown = np.asarray(opened(pictures.misclassified(white, [0, 0], [1, 1], ("a", "b"))).convert("RGB")).astype(int)
    rows, columns = np.nonzero((shown[..., 0] > 200) & (shown[..., 1] < 50))
    assert np.ptp(columns[columns < WIDE // 6]) == pytest.approx(1.5 * np.ptp(rows), abs=2)
    assert columns.max() < WIDE // 3


def test_the_title_says_when_not_all_mistakes_are_shown() -> None:
    assert pictures._misclassified_title(100, 50, 36).endswith("true → predicted; 36 of them")
    assert pictures._misclassified_title(100, 5, 5) == "5 of 100 test images are labelled wrong: true → predicted"


NASTY = (
    *("$x^{", "$\\alpha$ $", "_hidden", "100 %", "{0} %s", "\\frac\\", "a" * 300, "<b>&amp;</b>", "**|`x`|**"),
    *("שלום عالم", "👩\u200d🚀", "e\u0301\u0302\u0303", "日本語", "~", "'\"", "%(x)s"),
)


def test_names_of_any_printable_characters_are_drawn() -> None:
    truth = np.arange(len(NASTY))
    read = Readout(np.roll(truth, 1), truth, 0.1, np.linspace(0.1, 1, len(truth)).astype(np.float32))
    warnings: list[str] = []
    drawn = pictures.draw(read, images(len(truth)), NASTY, warnings.append)
    assert (sorted(drawn), warnings) == (["confusion.png", "misclassified.png", "reliability.png"], [])


@given(names=st.lists(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1), min_size=4, max_size=4))
@settings(max_examples=10)
def test_any_printable_name_is_drawn(names: list[str]) -> None:
    truth = np.arange(4)
    warnings: list[str] = []
    drawn = pictures.draw(Readout(np.roll(truth, 1), truth, 0.1), images(4), names, warnings.append)
    assert (sorted(drawn), warnings) == (["confusion.png", "misclassified.png"], [])


def test_a_dollar_is_drawn_as_a_dollar() -> None:
    def drawn(name: str) -> bytes:
        return pictures.confusion(counted(PREDICTED), ("cat", "dog", name))

    assert drawn("$x$") != drawn("x")


def test_a_picture_that_can_not_be_drawn_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "confusion", lambda *_: 1 / 0)
    warnings: list[str] = []
    assert sorted(pictures.draw(Readout(PREDICTED, TRUTH, 0.1), images(6), LABELS, warnings.append)) == [
        "misclassified.png"
    ]
    assert warnings == ["confusion.png is missing, because drawing it failed with ZeroDivisionError: division by zero"]


def test_no_mistake_is_a_picture_too() -> None:
    assert opened(pictures.misclassified(images(6), TRUTH, TRUTH, LABELS)).width == WIDE
    assert pictures._misclassified_title(6, 0, 0) == "None of 6 test images is labelled wrong"


@pytest.mark.parametrize("confidence", [[1.0] * 6, [0.5] * 6, [0.34, 0.5, 0.7, 0.9, 0.95, 1.0]])
def test_the_reliability_is_drawn_for_any_confidence(confidence: list[float]) -> None:
    found = metrics.calibration(Readout(PREDICTED, TRUTH, 0.1, np.array(confidence, np.float32)))
    assert found is not None
    assert opened(pictures.reliability(found)).width == WIDE


@pytest.mark.parametrize(
    ("confidence", "title"),
    [
        (0.75, "Confidence is 0.250 too high on average; expected calibration error 0.250"),
        (0.25, "Confidence is 0.250 too low on average; expected calibration error 0.250"),
        (0.5, "Confidence is what accuracy is, on average; expected calibration error 0.000"),
    ],
)
def test_the_reliabilitys_title_says_whether_the_network_is_too_sure(confidence: float, title: str) -> None:
    found = metrics.calibration(Readout(PREDICTED, TRUTH, 0.1, np.full(6, confidence, np.float32)))
    assert found is not None
    assert pictures._reliability_title(found) == title


def test_a_network_whose_confidence_was_not_kept_has_no_reliability() -> None:
    drawn = pictures.draw(Readout(PREDICTED, TRUTH, 0.1), images(6), LABELS)
    assert sorted(drawn) == ["confusion.png", "misclassified.png"]
