"""A source among the splits: what holds while a folder changes, what is refused, and what is warned of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from windrow.data import copies
from windrow.data.division import PRECISE, Division, divide, half_width
from windrow.data.sources import Source
from windrow.data.splits import SPLITS
from windrow.errors import DatasetError
from windrow.experiment import DatasetSection

SECTION = DatasetSection(validation=0.2, test=0.2)
CLASSES = ("cat", "dog", "emu")


def pictures(numbers: Sequence[int]) -> np.ndarray:
    """An image of 3 x 3 pixels for each number; its first four pixels are the number."""
    images = np.zeros((len(numbers), 9), np.uint8)
    images[:, :4] = np.asarray(numbers, "<u4").reshape(-1, 1).view(np.uint8)
    return images.reshape(-1, 3, 3, 1)


def source(numbers: Sequence[int], tests: Sequence[int] | None = None, names: Sequence[str] = ()) -> Source:
    """A user's folder of these pictures; a number's class is its remainder by three."""
    return Source(
        "mine", pictures(numbers), np.asarray(numbers, np.int64) % 3,
        None if tests is None else pictures(tests), None if tests is None else np.asarray(tests, np.int64) % 3,
        CLASSES, own=True, train_names=tuple(names or (f"{number}.png" for number in numbers)),
        test_names=tuple(f"test/{number}.png" for number in tests or ()),
    )  # fmt: skip


def sides(division: Division) -> dict[int, str]:
    """The split of each picture, by its number."""
    return {
        int(part.images[index].reshape(-1)[:4].view("<u4")[0]): split
        for split, part in division.parts.items()
        for index in part.indices
    }


@given(
    st.sets(st.integers(0, 10_000), max_size=80), st.sets(st.integers(0, 10_000), max_size=80),
    st.booleans(), st.randoms(use_true_random=False),
)  # fmt: skip
def test_a_folder_that_grows_shrinks_and_is_renamed_moves_no_image(
    here: set[int], more: set[int], own_test: bool, random: Any
) -> None:
    always, tests = list(range(20_000, 20_150)), list(range(30_000, 30_030)) if own_test else None
    before = sides(divide(source([*here, *always], tests), SECTION))
    grown = [*(here | more), *always]
    random.shuffle(grown)
    kept = grown[:10] + [number for number in grown[10:] if number % 7]
    for numbers in (grown, kept):
        after = sides(divide(source(numbers, tests, [f"IMG_{place}.jpg" for place in range(len(numbers))]), SECTION))
        assert {number: after[number] for number in before if number in numbers} == {
            number: split for number, split in before.items() if number in numbers
        }


def test_while_a_folder_grows_from_200_to_2000_images_no_image_changes_sides_and_the_shares_hold() -> None:
    order = np.random.default_rng(0).permutation(2000).tolist()
    known: dict[int, str] = {}
    for count in range(200, 2001, 200):
        now = sides(divide(source(sorted(order[:count])), SECTION))
        assert now.keys() == set(order[:count])
        assert known.items() <= now.items()
        known = now
    found = list(known.values())
    assert abs(found.count("test") - 400) < 3 * 17.9, "three standard deviations of 2,000 draws at 0.2"
    assert abs(found.count("validation") - 320) < 3 * 16.4


def test_the_same_images_under_other_names_in_another_order_are_the_same_data_set() -> None:
    numbers = list(range(90))
    first = divide(source(numbers), SECTION)
    second = divide(source(numbers[::-1], names=[f"{number}.jpg" for number in numbers]), SECTION)
    for split in SPLITS:
        one, two = first.parts[split], second.parts[split]
        np.testing.assert_array_equal(one.images[one.indices], two.images[two.indices])
        np.testing.assert_array_equal(one.hashes[one.indices], two.hashes[two.indices])


def test_a_built_in_source_is_drawn_class_by_class_as_ever_and_warns_of_nothing() -> None:
    division = divide(replace(source(range(60)), own=False, train_names=()), SECTION)
    assert division.class_counts == {
        "train": dict.fromkeys(CLASSES, 13),
        "validation": dict.fromkeys(CLASSES, 3),
        "test": dict.fromkeys(CLASSES, 4),
    }
    assert division.warnings == ()


def test_a_built_in_source_keeps_its_copies() -> None:
    division = divide(replace(source([*range(60), *range(30)]), own=False, train_names=()), SECTION)
    assert (division.left_out, division.copies.images) == ({}, 60)
    assert division.copies.examples[0] == ("training image 0", "training image 60")


def test_classes_are_counted_in_each_split() -> None:
    division = divide(source(range(300)), SECTION)
    assert list(division.class_counts) == list(SPLITS)
    assert sum(sum(counts.values()) for counts in division.class_counts.values()) == 300
    for split, part in division.parts.items():
        assert list(division.class_counts[split].values()) == np.bincount(part.labels[part.indices]).tolist()


def test_images_that_can_not_be_used_are_in_no_split_and_the_others_go_on() -> None:
    mixed = source([*range(90), 3, 200, 201], tests=[10, 11, 300, 301, 302])
    mixed.train_labels[90] = 1  # the second picture 3, which is a cat
    division = divide(mixed, SECTION)
    found = sides(division)
    assert found.keys() == {*range(90), 200, 201, 300, 301, 302} - {3}
    assert (found[10], found[11]) == ("test", "test")
    assert set(division.left_out) == {"3.png", "10.png", "11.png"}
    assert [sentence.split(" ")[2] for sentence in division.warnings[:2]] == ["2", "2"]


def test_trashnets_two_pictures_under_two_labels_are_left_out_and_its_near_copy_is_listed(real_data: Path) -> None:
    files = ["glass/glass115", "metal/metal91", "metal/metal76", "glass/glass1", "glass/glass2", "metal/metal1"]
    names = [*(f"train/{name}.jpg" for name in [*files, "metal/metal2"]), "test/metal/metal394.jpg"]
    opened = [Image.open(real_data / "trashnet" / name).resize((64, 64)) for name in names]
    images, labels = np.stack([np.asarray(image) for image in opened]), np.array([0, 1, 1, 0, 0, 1, 1, 1])
    photos = Source(
        "trashnet", images[:7], labels[:7], images[7:], labels[7:], ("glass", "metal"), own=True,
        train_names=tuple(names[:7]), test_names=tuple(names[7:]),
    )  # fmt: skip
    division = divide(photos, DatasetSection(validation=0.4, seed=2))
    assert division.left_out == {
        "train/glass/glass115.jpg": "the same pixels as train/metal/metal91.jpg, labelled metal",
        "train/metal/metal91.jpg": "the same pixels as train/glass/glass115.jpg, labelled glass",
    }
    assert division.near_copies.examples == (("test/metal/metal394.jpg", "train/metal/metal76.jpg"),)


def test_a_class_whose_images_are_all_disputed_is_refused_with_the_reason() -> None:
    both = source([*range(0, 90, 3), *range(1, 60, 3), *range(1, 60, 3), 2, 5, 8, 11, 14, 17])
    both.train_labels[50:70] = 2
    with pytest.raises(DatasetError) as caught:
        divide(both, SECTION)
    assert str(caught.value).splitlines()[0] == (
        "every class needs a training image; got dog 0/0/0 (train/validation/test), without 40 images whose copies "
        "have another label; correct the labels or remove the copies, add images, remove the class, or choose another "
        "dataset.seed"
    )
    assert "note: left out 40 images whose copies have another label" in str(caught.value)


@pytest.mark.parametrize(
    ("tests", "labels", "told"),
    [
        (
            None, (0, 1),
            "every split needs an image; got 0 train, 0 validation, 0 test, without 40 images whose copies have "
            "another label; correct the labels or remove the copies, add images, or lower dataset.validation",
        ),
        (
            range(20), (0, 0),
            "got 0 train, 0 validation, 20 test, without 40 training images with the pixels of test images; remove one "
            "of each from training or test, add images, or lower dataset.validation",
        ),
    ],
)  # fmt: skip
def test_where_copies_leave_nothing_to_train_on_the_first_line_of_the_refusal_says_so(
    tests: Sequence[int] | None, labels: tuple[int, int], told: str
) -> None:
    photos = source([*range(20)] * 2, tests)
    photos.train_labels[:20], photos.train_labels[20:] = labels
    if photos.test_labels is not None:
        photos.test_labels[:] = labels[0]
    with pytest.raises(DatasetError) as caught:
        divide(photos, SECTION)
    assert told in str(caught.value).splitlines()[0]


def test_a_split_without_an_image_is_refused_with_the_numbers() -> None:
    with pytest.raises(
        DatasetError, match=r"every split needs an image; got 6 train, 0 validation, 0 test; add images,"
    ):
        divide(source(range(6)), DatasetSection(validation=0.001, test=0.001))
    with pytest.raises(DatasetError, match=r"got 0 train, .*; add images, or lower dataset.validation or dataset.test"):
        divide(source(range(6)), DatasetSection(validation=0.999, test=0.5))
    with pytest.raises(DatasetError, match=r"0 test; add images to the test split"):
        divide(source(range(30), tests=[]), SECTION)


def test_where_copies_leave_a_split_empty_the_refusal_names_them() -> None:
    with pytest.raises(DatasetError, match=r"every split needs an image; got .*\nnote: 60 images have the same pixels"):
        divide(source([0, 1] * 30, names=[f"{number}.png" for number in range(60)]), SECTION)


def test_a_class_that_a_split_can_not_measure_is_a_warning_with_its_numbers() -> None:
    division = divide(source([*range(0, 300, 3), *range(1, 300, 3), 2]), DatasetSection(validation=0.3, test=0.3))
    warned = [sentence for sentence in division.warnings if "classes without a" in sentence]
    assert [sentence.split(",")[0] for sentence in warned] == [
        "1 of 3 classes without a validation image",
        "1 of 3 classes without a test image",
    ]
    assert "emu 1/0/0 (train/validation/test); add images of them" in warned[0]


def test_a_split_that_is_too_small_for_its_figure_is_a_warning_with_numbers() -> None:
    def nameless(count: int) -> Source:  # such images are not compared by their looks
        return replace(source(range(count)), train_names=())

    division = divide(nameless(600), DatasetSection(validation=0.1, test=0.2))
    validation, test = (sum(division.class_counts[split].values()) for split in ("validation", "test"))
    assert division.warnings == (
        f"{validation} validation images: an accuracy is known to ±{half_width(validation):.2f} only; add images, or "
        "raise dataset.validation",
        f"{test} test images: an accuracy is known to ±{half_width(test):.2f} only; add images, or raise dataset.test",
    )
    assert divide(nameless(3000), DatasetSection(validation=0.2, test=0.2)).warnings == ()


@pytest.mark.parametrize(("count", "width"), [(1, 0.4454), (61, 0.1217), (380, 0.0500), (381, 0.0500)])
def test_half_a_width_is_wilsons(count: int, width: float) -> None:
    from scipy.stats import binomtest

    interval = binomtest(count, 2 * count).proportion_ci(0.95, "wilson")
    assert half_width(2 * count) == pytest.approx((interval.high - interval.low) / 2)
    assert half_width(count) == pytest.approx(width, abs=5e-5)


def test_a_split_is_too_small_below_381_images() -> None:
    assert half_width(381) < PRECISE < half_width(380)


def test_what_was_seen_while_reading_is_a_warning() -> None:
    assert (
        divide(replace(source(range(90)), notes=("the folder changed",)), SECTION).warnings[0] == "the folder changed"
    )


def test_one_class_is_refused() -> None:
    with pytest.raises(DatasetError, match="at least two classes"):
        divide(replace(source(range(0, 90, 3)), labels=("cat",)), SECTION)


def test_near_copies_are_looked_for_between_test_images_and_the_others_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (60, 16, 16, 3)).astype(np.uint8)
    brighter = np.minimum(images, 250) + 2
    both = np.concatenate([images, brighter])
    names = tuple(f"{number}.png" for number in range(120))
    mine = replace(source(range(120)), train_images=both, train_labels=np.tile(np.arange(60) % 3, 2), train_names=names)
    division = divide(mine, DatasetSection(validation=0.2, test=0.4))
    tests = {mine.train_names[index] for index in division.parts["test"].indices}
    alone = [name for name in tests if names[(int(name[:-4]) + 60) % 120] not in tests]
    assert division.near_copies.images == len(alone)
    for test, other in division.near_copies.examples:
        assert (int(test[:-4]) - int(other[:-4])) % 60 == 0
        assert other not in tests
    assert len(alone) > 5
    look, shown = division.warnings[-1].split(", so the test accuracy may be too high; remove one of each, e.g. ")
    assert look == f"{len(alone)} test images look nearly like an image of training or validation"
    assert shown == "; ".join(" ~ ".join(pair) for pair in division.near_copies.examples[:5])
    monkeypatch.setattr(copies, "MOST_IMAGES", 119)
    assert divide(mine, SECTION).near_copies.images is None


def test_a_test_image_whose_crop_is_that_of_a_training_image_is_a_near_copy_and_is_left_out_if_labels_differ() -> None:
    images, cropped = np.random.default_rng(1).integers(0, 256, (2, 60, 16, 16, 3)).astype(np.uint8)
    mine = replace(source(range(60)), train_images=images, train_cropped=cropped)
    before = divide(mine, SECTION)
    test = before.parts["test"].indices[0]
    other, another = (
        next(index for index in before.parts["train"].indices if (index % 3 == test % 3) == same)
        for same in (True, False)
    )
    cropped[test] = cropped[other]
    division = divide(mine, SECTION)
    assert (before.near_copies.images, division.near_copies.images) == (0, 1)
    assert division.near_copies.examples == ((mine.train_names[test], mine.train_names[other]),)
    assert "1 test image looks nearly like an image of training" in division.warnings[-1]
    for split in SPLITS:
        assert division.parts[split].indices.tolist() == before.parts[split].indices.tolist()
    cropped[test] = cropped[another]  # of another class
    division = divide(mine, SECTION)
    assert division.left_out.keys() == {mine.train_names[test], mine.train_names[another]}
    assert sum(len(part.indices) for part in division.parts.values()) == 58
