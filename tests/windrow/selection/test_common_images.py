"""Which test images challenger and champion are compared on, and when a person decides."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.data import hashes
from windrow.data import manifest as manifests
from windrow.data.manifest import Manifest
from windrow.data.splits import SPLITS, StoredFit
from windrow.model.form import Form
from windrow.model.network import Network
from windrow.selection import common_images
from windrow.selection.common_images import RegisteredChampion
from windrow.selection.statistics import LEAST_IMAGES

IMAGES = 60
DATA = Manifest("shapes", "/shapes", "new", (2, 2, 1), ("boot", "bag", "hat"), {}, {}, {})
NETWORK = Network("shapes", "4", Path("model.keras"), "d", (2, 2, 1), DATA.labels, dataset_digest="old")


def image(number: int) -> np.ndarray:
    return np.frombuffer(number.to_bytes(4, "big"), np.uint8).reshape(2, 2, 1)


def keys(*numbers: int) -> np.ndarray:
    return np.sort(common_images.keys(hashes.of(np.stack([image(number) for number in numbers]))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set: images 0 to 59 are its test split, of three classes by turns; 100 to 119 are the others."""
    folder = tmp_path_factory.mktemp("prepared")
    manifests.write(folder, DATA)
    splits = {"test": range(IMAGES), "train": range(100, 115), "validation": range(115, 120)}
    for split, numbers in splits.items():
        images = np.stack([image(number) for number in numbers])
        np.save(folder / f"{split}-images.npy", images)
        np.save(folder / f"{split}-labels.npy", np.array(numbers) % 3)
        np.save(folder / f"{split}-hashes.npy", hashes.of(images))
    return folder


def champion(seen: np.ndarray | None = None, **changes: object) -> RegisteredChampion:
    return RegisteredChampion("4", replace(NETWORK, **changes), seen=keys(500) if seen is None else seen)


def test_what_a_version_has_seen_are_its_training_and_validation_images_in_order(folder: Path) -> None:
    seen = common_images.seen_in(folder)
    assert seen.dtype == np.uint64
    np.testing.assert_array_equal(seen, keys(*range(100, 120)))


def test_a_champion_that_has_seen_none_of_the_test_images_is_compared_on_all(folder: Path) -> None:
    found = common_images.between(champion(), DATA, folder)
    assert (found.count, found.doubt) == (IMAGES, "")
    np.testing.assert_array_equal(found.truth, np.arange(IMAGES) % 3)


def test_a_champion_of_cropped_images_is_not_compared_on_squashed_ones(folder: Path) -> None:
    cropped = replace(DATA, settings={"fit": "crop"})
    other = common_images.between(champion(form=Form(resize="crop")), DATA, folder)
    assert (other.count, other.doubt) == (0, "was made for images that are cropped, and these are not")
    assert common_images.between(champion(), cropped, folder).doubt.startswith("was made for images that are squashed")
    assert common_images.between(champion(form=Form(resize="crop")), cropped, folder).count == IMAGES


@pytest.fixture(scope="module")
def both(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Path]:
    """The data set of `folder` with the cropped images, too: their numbers are 1,000 higher."""
    copy = tmp_path_factory.mktemp("both") / "data"
    shutil.copytree(folder, copy)
    for split in SPLITS:
        squashed = np.load(folder / f"{split}-images.npy")
        cropped = np.stack([image(int.from_bytes(each.tobytes(), "big") + 1000) for each in squashed])
        np.save(copy / f"{split}-images-crop.npy", cropped)
        np.save(copy / f"{split}-hashes-crop.npy", hashes.of(cropped))
    dataset = replace(DATA, settings={"fit": "both"})
    manifests.write(copy, dataset)
    return dataset, copy


@pytest.mark.parametrize(("resize", "fit"), [("smooth", "main"), ("crop", "crop")])
def test_a_champion_is_compared_on_images_that_are_fitted_as_its_own_if_the_data_set_has_both(
    both: tuple[Manifest, Path], resize: Literal["smooth", "crop"], fit: StoredFit
) -> None:
    found = common_images.between(champion(form=Form(resize=resize)), *both)
    assert (found.count, found.doubt, found.fit) == (IMAGES, "", fit)


@pytest.mark.parametrize("seen", [keys(*range(10)), keys(*range(1000, 1010))])
def test_a_champion_that_has_seen_an_image_in_either_form_is_not_compared_on_it(
    both: tuple[Manifest, Path], seen: np.ndarray
) -> None:
    found = common_images.between(champion(seen, form=Form(resize="crop")), *both)
    np.testing.assert_array_equal(found.chosen, np.arange(IMAGES) >= 10)


def test_a_version_remembers_both_forms_of_its_images(both: tuple[Manifest, Path]) -> None:
    np.testing.assert_array_equal(common_images.seen_in(both[1]), keys(*range(100, 120), *range(1100, 1120)))


@given(st.sets(st.integers(0, 200), max_size=40))
def test_no_image_that_the_champion_was_trained_or_chosen_on_is_compared(folder: Path, seen: set[int]) -> None:
    found = common_images.between(champion(keys(*seen, 500)), DATA, folder)
    assert set(np.flatnonzero(found.chosen)) == set(range(IMAGES)) - seen
    assert bool(found.too_few) is (found.count < LEAST_IMAGES)


@pytest.mark.parametrize(
    ("common", "too_few"), [(30, ""), (29, "can be compared on 29 images only, and the rule needs 30")]
)
def test_a_lead_on_fewer_than_30_images_is_left_to_a_person(folder: Path, common: int, too_few: str) -> None:
    found = common_images.between(champion(keys(*range(IMAGES - common))), DATA, folder)
    assert (found.count, found.doubt, found.too_few) == (common, "", too_few)


def test_a_picture_that_was_copied_40_times_is_compared_once(folder: Path, tmp_path: Path) -> None:
    numbers = [0] * 40 + [1, 2, 1]
    images = np.stack([image(number) for number in numbers])
    np.save(tmp_path / "test-images.npy", images)
    np.save(tmp_path / "test-labels.npy", np.array(numbers))
    np.save(tmp_path / "test-hashes.npy", hashes.of(images))
    for version in (champion(), RegisteredChampion("4", replace(NETWORK, dataset_digest="new"))):
        found = common_images.between(version, DATA, tmp_path)
        assert np.flatnonzero(found.chosen).tolist() == [0, 40, 41]
        assert found.too_few == "can be compared on 3 images only, and the rule needs 30"
    assert common_images.first_of_copies(folder).all()


def test_an_older_version_records_no_images_and_is_compared_on_the_same_data_set_only(folder: Path) -> None:
    old = RegisteredChampion("4", replace(NETWORK, dataset_digest="new"))
    assert (common_images.between(old, DATA, folder).count, common_images.between(old, DATA, folder).doubt) == (60, "")
    other = common_images.between(RegisteredChampion("4", NETWORK), DATA, folder)
    assert other.count == 0
    assert other.doubt == ("does not record which images it was trained on, and these test images may be among them")


def test_classes_in_another_order_are_the_same_classes(folder: Path) -> None:
    found = common_images.between(champion(labels=("hat", "boot", "bag")), DATA, folder)
    assert found.doubt == ""
    names = np.array(["hat", "boot", "bag"])[found.truth]
    np.testing.assert_array_equal(names, np.array(DATA.labels)[np.arange(IMAGES) % 3])


@pytest.mark.parametrize(
    ("labels", "compared", "doubt"),
    [
        (("bag", "hat"), 40, "does not know 1 class (boot)"),
        (("bag", "boot", "hat", "shoe"), 60, "knows 1 class (shoe), now gone"),
        (("bag", "shoe"), 20, "does not know 2 classes (boot, hat) and knows 1 class (shoe), now gone"),
        (
            tuple("abcd"),
            0,
            "does not know 3 classes (boot, bag, hat) and knows 4 classes (a, b, c and others), now gone",
        ),
    ],
)
def test_other_classes_are_compared_on_the_common_ones_and_left_to_a_person(
    folder: Path, labels: tuple[str, ...], compared: int, doubt: str
) -> None:
    found = common_images.between(champion(labels=labels), DATA, folder)
    assert (found.count, found.doubt) == (compared, doubt)
    truth = np.array([DATA.labels[number % 3] for number in np.flatnonzero(found.chosen)])
    np.testing.assert_array_equal(np.array(labels)[found.truth[found.chosen]], truth)


def test_images_of_another_shape_and_files_that_can_not_be_read_allow_no_comparison(folder: Path) -> None:
    other = common_images.between(champion(shape=(28, 28, 1)), DATA, folder)
    assert (other.count, other.doubt) == (0, "was made for 28 x 28 x 1 images, and these are 2 x 2 x 1")
    broken = common_images.between(RegisteredChampion("4", None, "can't be evaluated: it is gone"), DATA, folder)
    assert (broken.count, broken.doubt) == (0, "can't be evaluated: it is gone")
