from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from windrow.training.data import Examples, class_weights, folded, joined, tensors

pytestmark = pytest.mark.tensorflow


def test_a_mapped_file_is_read_where_it_lies_and_outlives_its_array(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), dtype=np.uint8)
    np.save(tmp_path / "images.npy", values)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    images, labels = tensors(Examples(mapped, np.arange(50)))
    assert images.numpy().ctypes.data != mapped.ctypes.data  # numpy() of a tensor is a copy ...
    assert np.from_dlpack(images).ctypes.data == mapped.ctypes.data  # ... and this is the tensor's own memory
    del mapped
    gc.collect()
    np.testing.assert_array_equal(images, values)
    np.testing.assert_array_equal(labels, np.arange(50))


def test_an_array_that_is_not_aligned_or_not_whole_is_copied() -> None:
    values = np.random.default_rng(0).integers(0, 256, (65, 8, 8, 1), dtype=np.uint8)
    for view in (values.reshape(-1)[1:4097].reshape(64, 8, 8, 1), values[:, ::2], values[:0]):
        images, _ = tensors(Examples(view, np.arange(len(view))))
        np.testing.assert_array_equal(images, view)


def test_class_weights_are_scikit_learns_and_a_class_without_images_has_none() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat([0, 1, 3], [90, 9, 1])
    weights = class_weights(labels, 5)
    assert (weights.dtype, weights[2], weights[4]) == (np.float32, 0.0, 0.0)
    wanted = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels)
    np.testing.assert_allclose(weights[[0, 1, 3]], wanted, rtol=1e-6)
    assert weights[labels].mean() == pytest.approx(1)


def test_features_of_two_splits_are_joined_and_a_validation_image_has_its_only_view_more_often() -> None:
    training = Examples(np.arange(24, dtype=np.float16).reshape(2, 3, 4), np.array([0, 1]))
    validation = Examples(np.full((1, 1, 4), -1, np.float16), np.array([1]))
    both = joined(training, validation)
    assert both.images.dtype == np.float16
    np.testing.assert_array_equal(both.images[:2], training.images)
    np.testing.assert_array_equal(both.images[2], np.full((3, 4), -1))
    assert both.labels.tolist() == [0, 1, 1]


def features_of(generator: np.random.Generator, images: int, classes: int, views: int) -> Examples:
    values = generator.normal(size=(images, views, 4)).astype(np.float16)
    return Examples(values, generator.integers(0, classes, images))


def rows(examples: Examples) -> Counter[tuple[bytes, int]]:
    """The images with their labels, by the features of the image itself."""
    return Counter((row[0].tobytes(), int(label)) for row, label in zip(examples.images, examples.labels, strict=True))


@pytest.mark.parametrize(("images", "held", "classes"), [(200, 35, 3), (1700, 300, 6), (25, 5, 6), (120, 22, 30)])
def test_each_fold_validates_on_as_many_images_that_no_other_has(images: int, held: int, classes: int) -> None:
    generator = np.random.default_rng(images)
    own = features_of(generator, images, classes, 2), features_of(generator, held, classes, 1)
    whole = rows(joined(*own))
    assert folded(*own, 1, own) == own
    parts = [folded(*own, fold, own) for fold in range(2, 2 + images // held)]
    seen = Counter[tuple[bytes, int]]()
    for training, validation in parts:
        assert rows(training) + rows(validation) == whole
        assert validation.images.shape[1:] == (1, 4)
        assert 0 <= held - len(validation) <= classes  # fewer where a class would leave the training
        assert set(training.labels) == set(joined(*own).labels)
        shares = np.bincount(own[0].labels, minlength=classes) * held / images
        assert np.all(np.abs(np.bincount(validation.labels, minlength=classes) - shares) < 2)
        seen += rows(validation)
    assert max(seen.values()) == 1
    assert not seen & rows(own[1])


def test_a_fold_depends_on_the_images_alone_and_equal_ones_stay_on_one_side() -> None:
    generator = np.random.default_rng(3)
    first, validation = features_of(generator, 30, 2, 1), features_of(generator, 9, 2, 1)
    training = Examples(np.repeat(first.images, 2, axis=0), np.repeat(first.labels, 2))
    other = np.random.default_rng(4).permutation(len(training))
    moved = Examples(training.images[other], training.labels[other])
    for fold in range(2, 20):
        kept, held = folded(training, validation, fold, (training, validation))
        assert not rows(kept).keys() & rows(held).keys()
        again = folded(moved, validation, fold, (moved, validation))
        assert (rows(again[0]), rows(again[1])) == (rows(kept), rows(held))


def test_another_fit_of_the_images_is_divided_as_the_first() -> None:
    generator = np.random.default_rng(5)
    squashed = features_of(generator, 40, 2, 1), features_of(generator, 10, 2, 1)
    cropped = tuple(Examples(part.images + np.float16(1), part.labels) for part in squashed)
    for fold in (2, 3, 4):
        pairs = zip(folded(*squashed, fold, squashed), folded(cropped[0], cropped[1], fold, squashed), strict=True)
        for one, other in pairs:
            np.testing.assert_array_equal(one.images + np.float16(1), other.images)


@pytest.mark.parametrize(("images", "held"), [(1, 1), (2, 5), (3, 0), (0, 2)])
def test_too_few_images_for_another_fold_leave_the_division_as_it_is(images: int, held: int) -> None:
    own = tuple(Examples(np.ones((count, 1, 4), np.float16), np.zeros(count, np.int64)) for count in (images, held))
    for fold in (2, 3):
        assert folded(own[0], own[1], fold, (own[0], own[1])) == own
