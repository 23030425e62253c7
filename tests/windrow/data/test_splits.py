"""Splits: every image once, in a built-in source class by class, in a folder by its pixels alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.data import splits
from windrow.errors import DatasetError

LABELS = np.repeat(np.arange(3), [50, 30, 20])
SHARES = st.floats(0.01, 0.99)
SEEDS = st.integers(0, 2**32 - 1)
HASHES = st.lists(st.binary(min_size=16, max_size=16), max_size=60)


def rows(keys: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16)


def sides(keys: list[bytes], validation: float = 0.15, test: float | None = 0.2, seed: int = 0) -> dict[bytes, str]:
    """The split of each image by its hash; copies are one."""
    parts = splits.by_content(rows(keys), validation, test, seed)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(keys)))
    found: dict[bytes, set[str]] = {}
    for split, indices in parts.items():
        for index in indices:
            found.setdefault(keys[index], set()).add(split)
    assert all(len(splits_of) == 1 for splits_of in found.values()), "copies are in one split"
    return {key: splits_of.pop() for key, splits_of in found.items()}


@given(HASHES, HASHES, SHARES, SHARES, SEEDS, st.randoms(use_true_random=False))
def test_no_image_changes_sides_whatever_comes_goes_or_is_put_in_another_order(
    here: list[bytes], more: list[bytes], validation: float, test: float, seed: int, random: Any
) -> None:
    before = sides(here, validation, test, seed)
    grown = [*here, *more, *here[:3]]
    random.shuffle(grown)
    after = sides(grown, validation, test, seed)
    assert {key: after[key] for key in before} == before
    shrunk = grown[: len(grown) // 2]
    assert sides(shrunk, validation, test, seed) == {key: after[key] for key in shrunk}


def many(count: int) -> list[bytes]:
    return [number.to_bytes(16, "little") for number in range(count)]


@given(SHARES, SHARES, SEEDS)
def test_the_shares_are_those_of_the_page_but_for_chance(validation: float, test: float, seed: int) -> None:
    found = list(sides(many(2000), validation, test, seed).values())
    for split, share in (("test", test), ("validation", (1 - test) * validation)):
        assert abs(found.count(split) - 2000 * share) < 6 * math.sqrt(2000 * share * (1 - share)) + 1


@given(SHARES, st.tuples(SHARES, SHARES).map(sorted), SEEDS)
def test_a_larger_test_share_takes_images_and_moves_no_others(
    validation: float, shares: list[float], seed: int
) -> None:
    before, after = (sides(many(300), validation, share, seed) for share in shares)
    assert {after[key] for key in before if before[key] == "test"} <= {"test"}
    assert all(after[key] in (before[key], "test") for key in before)


def test_another_seed_assigns_other_images() -> None:
    first, second = (sides(many(200), seed=seed) for seed in (0, 1))
    assert sum(first[key] != second[key] for key in first) > 50


def test_a_folder_with_its_own_test_split_gives_none_of_its_training_images_away() -> None:
    assert set(sides(many(200), test=None).values()) == {"train", "validation"}


def test_the_order_of_a_split_follows_from_its_images_and_not_from_the_files() -> None:
    keys = many(50)
    first, second = (splits.by_content(rows(order), 0.2, 0.2, 0) for order in (keys, keys[::-1]))
    for split in splits.SPLITS:
        assert [keys[index] for index in first[split]] == [keys[::-1][index] for index in second[split]]
    assert first["train"].tolist() != sorted(first["train"].tolist())


def test_sides_are_pinned() -> None:
    # If they change, every folder's images change sides, and champions were trained on what tests them.
    parts = splits.by_content(rows(many(10)), 0.3, 0.3, 7)
    assert {split: part.tolist() for split, part in parts.items()} == {
        "train": [6, 0, 8, 2, 5, 7, 3],
        "validation": [9, 4],
        "test": [1],
    }


def test_one_class_is_refused() -> None:
    with pytest.raises(DatasetError, match="at least two classes; got only 'cat'; add images of another class"):
        splits.check_classes(np.zeros(10, np.int64), ("cat",), 3)


def test_no_class_is_refused() -> None:
    with pytest.raises(DatasetError, match="got none"):
        splits.check_classes(np.zeros(0, np.int64), (), 3)


def test_every_class_that_is_too_small_is_named() -> None:
    with pytest.raises(DatasetError, match=r"at least 3 images, one a split; got 'b' with 2, 'd' with 0; add images"):
        splits.check_classes(np.array([0, 0, 0, 1, 1, 2, 2, 2]), ("a", "b", "c", "d"), 3)


@pytest.mark.parametrize(
    ("names", "got"),
    [
        (("cat", "dog", "cat "), "got 'cat' and 'cat ', which look the same"),
        (("a  b", "a b"), "got 'a  b' and 'a b', which look the same"),
        (("caf\u00e9", "cafe\u0301"), r"got 'caf\\xe9' and 'cafe\\u0301', which look the same"),
        (("cat", ""), "a class needs a name that can be printed; got ''"),
        (("cat", "d\x1b[31mog"), r"a class needs a name that can be printed; got 'd\\x1b\[31mog'"),
    ],
)
def test_classes_whose_names_no_one_can_tell_apart_or_read_are_refused(names: tuple[str, ...], got: str) -> None:
    with pytest.raises(DatasetError, match=got):
        splits.check_names(names)
    splits.check_names(("a", "A", "ä", "a|b", "<b>"))


def test_two_classes_of_one_name_are_refused() -> None:
    with pytest.raises(
        DatasetError,
        match=r"different names; got 'a' twice; rename one: its folder, its line in labels.txt, or its label",
    ):
        splits.check_names(("a", "b", "a"))


@given(
    st.lists(st.integers(3, 40), min_size=2, max_size=5),
    st.floats(0.001, 0.999),
    st.floats(0.001, 0.999),
    st.integers(0, 2**32),
)
def test_every_image_is_in_one_split_and_every_class_in_each(
    counts: list[int], validation: float, test: float, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    parts = splits.draw(labels, validation, test, seed)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
    for indices in parts.values():
        assert set(labels[indices].tolist()) == set(range(len(counts)))


def test_classes_keep_their_shares() -> None:
    parts = splits.draw(LABELS, validation=0.25, test=0.2, seed=0)
    assert {name: np.bincount(LABELS[part]).tolist() for name, part in parts.items()} == {
        "test": [10, 6, 4],
        "validation": [10, 6, 4],
        "train": [30, 18, 12],
    }


def test_the_test_split_does_not_move_with_the_validation_share() -> None:
    first, second = (splits.draw(LABELS, share, 0.2, 0)["test"] for share in (0.1, 0.5))
    np.testing.assert_array_equal(first, second)


def test_another_seed_draws_another_split() -> None:
    first, second = (splits.draw(LABELS, 0.2, 0.2, seed)["test"] for seed in (0, 1))
    assert set(first.tolist()) != set(second.tolist())


def test_a_source_with_its_own_test_split_gives_none_away() -> None:
    parts = splits.draw(LABELS, 0.2, None, 0)
    assert set(parts) == {"train", "validation"}
    assert len(parts["validation"]) == 20


def test_training_images_are_not_sorted_by_class() -> None:
    first = LABELS[splits.draw(LABELS, 0.2, 0.2, 0)["train"]][:20]
    assert set(first.tolist()) == {0, 1, 2}


def test_the_draw_is_pinned() -> None:
    # From PCG64's raw stream, which NumPy keeps. If it changes, every champion was tested on other images.
    parts = splits.draw(np.repeat([0, 1], 5), 0.2, 0.2, 0)
    assert {name: part.tolist() for name, part in parts.items()} == {
        "test": [3, 8],
        "train": [7, 1, 5, 6, 2, 0],
        "validation": [9, 4],
    }
