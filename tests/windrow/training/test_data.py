from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from windrow.training.data import Examples, class_weights, joined, tensors

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
