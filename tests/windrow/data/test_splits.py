"""Splits: every image once, each class in its share, the same draw for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.data import splits
from windrow.errors import DatasetError

LABELS = np.repeat(np.arange(3), [50, 30, 20])


def test_one_class_is_refused() -> None:
    with pytest.raises(DatasetError, match="at least two classes; got only 'cat'; add images of another class"):
        splits.check_classes(np.zeros(10, np.int64), ["cat"], 3)


def test_no_class_is_refused() -> None:
    with pytest.raises(DatasetError, match="got none"):
        splits.check_classes(np.zeros(0, np.int64), [], 3)


def test_every_class_that_is_too_small_is_named() -> None:
    with pytest.raises(DatasetError, match=r"at least 3 images, one a split; got 'b' with 2, 'd' with 0; add images"):
        splits.check_classes(np.array([0, 0, 0, 1, 1, 2, 2, 2]), ["a", "b", "c", "d"], 3)


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
