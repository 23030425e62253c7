"""Each change of augment.py against another implementation of its formula: NumPy, SciPy, or Keras' own layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.experiment import parameters
from windrow.training import augment

pytestmark = pytest.mark.tensorflow

ALL: dict[str, Any] = {
    **{"shift": 2.0, "rotation": 20.0, "zoom": 0.4, "flip": True, "contrast": 0.5, "brightness": 0.3},
}
OFF = parameters.defaults("dense")


def moved(images: np.ndarray, shift: float, rotation: float, seed: int = 0) -> np.ndarray:
    import tensorflow as tf

    return np.asarray(augment.move(tf.constant(images, tf.float32), tf.constant([seed, 0]), shift, rotation))


def changed(images: np.ndarray, seed: int = 0, **limits: Any) -> np.ndarray:
    """The images as a trial with these hyper-parameters changes them."""
    import tensorflow as tf

    values = {**OFF, **limits}
    kinds = augment.kinds(values)
    numbers = {name: float(values[name]) for name in ("shift", "rotation", "zoom", "contrast", "brightness")}
    return np.asarray(augment.augment(tf.constant(images, tf.float32), tf.constant([seed, 0]), numbers, kinds))


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """200 images (9, 7, 2) of random pixels, so that every pixel and each channel's mean is another."""
    return np.random.default_rng(0).uniform(60, 190, (200, 9, 7, 2)).astype(np.float32)


@pytest.fixture
def dots() -> np.ndarray:
    """200 images of 15x15 with one bright pixel, three pixels right of the centre."""
    images = np.zeros((200, 15, 15, 1), np.float32)
    images[:, 7, 10] = 100
    return images


def centres(images: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[:15, :15]
    mass = images[..., 0].sum((1, 2))
    return np.stack([(images[..., 0] * grid).sum((1, 2)) / mass for grid in (rows, columns)], axis=1)


def test_nothing_moves_at_zero(dots: np.ndarray) -> None:
    np.testing.assert_allclose(moved(dots, 0, 0), dots, atol=1e-4)


def test_no_image_moves_further_than_the_shift(dots: np.ndarray) -> None:
    distance = np.abs(centres(moved(dots, 2.0, 0)) - [7, 10])
    assert distance.max() <= 2.0 + 1e-3
    assert distance.max() > 1.8


def test_rotation_turns_about_the_centre_by_at_most_the_angle(dots: np.ndarray) -> None:
    offsets = centres(moved(dots, 0, 30.0)) - [7, 7]
    np.testing.assert_allclose(np.hypot(*offsets.T), 3, atol=0.35)
    angles = np.degrees(np.arctan2(offsets[:, 0], offsets[:, 1]))
    assert 25 < np.abs(angles).max() <= 31


def test_each_image_moves_by_its_own_amount_and_a_seed_repeats_it(dots: np.ndarray) -> None:
    first = moved(dots, 2.0, 20.0, seed=3)
    assert len({image.tobytes() for image in first}) > 100
    np.testing.assert_array_equal(first, moved(dots, 2.0, 20.0, seed=3))
    assert not np.array_equal(first, moved(dots, 2.0, 20.0, seed=4))


def test_nothing_is_changed_where_nothing_is_asked_for(photographs: np.ndarray) -> None:
    assert augment.kinds(OFF) == ()
    np.testing.assert_array_equal(changed(photographs), photographs)


def test_half_of_the_images_are_mirrored_and_the_others_are_the_same_to_the_bit(photographs: np.ndarray) -> None:
    found = changed(photographs, flip=True)
    mirrored = [np.array_equal(after, before[:, ::-1]) for after, before in zip(found, photographs, strict=True)]
    same = [np.array_equal(after, before) for after, before in zip(found, photographs, strict=True)]
    assert [one != other for one, other in zip(mirrored, same, strict=True)] == [True] * 200
    assert 75 < sum(mirrored) < 125


def test_zoom_reads_farther_from_the_centre_as_scipy_does(photographs: np.ndarray) -> None:
    import tensorflow as tf
    from scipy.ndimage import affine_transform

    scales = np.linspace(0.5, 1.5, 200).astype(np.float32)
    found = np.asarray(augment.move(tf.constant(photographs), tf.constant([0, 0]), 0.0, 0.0, tf.constant(scales)))
    for after, before, scale in zip(found, photographs, scales, strict=True):
        centre = (np.array(before.shape[:2]) - 1) / 2
        offset = [*(centre - scale * centre), 0.0]
        wanted = affine_transform(before, [scale, scale, 1.0], offset, order=1, mode="grid-constant")
        np.testing.assert_allclose(after, wanted, atol=0.02)


def test_zoom_goes_in_and_out_by_at_most_its_limit(dots: np.ndarray) -> None:
    distance = centres(changed(dots, zoom=0.3))[:, 1] - 7
    assert 3 / 1.3 - 0.3 < distance.min() < 2.6
    assert 3.9 < distance.max() < 3 / 0.7 + 0.3


def test_shift_and_rotation_are_drawn_as_ever_where_there_is_a_zoom(dots: np.ndarray) -> None:
    """A zoom of next to nothing leaves what shift and rotation do."""
    np.testing.assert_allclose(changed(dots, shift=2.0, rotation=9.0, zoom=1e-7), moved(dots, 2.0, 9.0), atol=0.05)


def test_contrast_is_that_of_keras_and_of_numpy(photographs: np.ndarray) -> None:
    import keras
    import tensorflow as tf

    factors = np.linspace(0, 2, 200).astype(np.float32)
    found = np.asarray(augment.change_contrast(tf.constant(photographs), tf.constant(factors)))
    means = photographs.mean((1, 2), keepdims=True)
    wanted = np.clip((photographs - means) * factors[:, None, None, None] + means, 0, 255)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    layer = keras.layers.RandomContrast(0.5, value_range=(0, 255))
    theirs = layer.transform_images(photographs, {"contrast_factor": tf.constant(factors[:, None, None, None])})
    np.testing.assert_allclose(found, np.asarray(theirs), atol=1e-3)


def test_brightness_is_that_of_keras_and_of_numpy(photographs: np.ndarray) -> None:
    import keras
    import tensorflow as tf

    amounts = np.linspace(-255, 255, 200).astype(np.float32)
    found = np.asarray(augment.change_brightness(tf.constant(photographs), tf.constant(amounts)))
    np.testing.assert_allclose(found, np.clip(photographs + amounts[:, None, None, None], 0, 255), atol=1e-3)
    layer = keras.layers.RandomBrightness(1.0, value_range=(0, 255))
    theirs = layer.transform_images(photographs, {"rgb_delta": tf.constant(amounts[:, None, None, None])})
    np.testing.assert_allclose(found, np.asarray(theirs), atol=1e-3)


def test_contrast_and_brightness_are_drawn_within_their_limits(photographs: np.ndarray) -> None:
    amounts = (changed(photographs, brightness=0.1) - photographs).reshape(200, -1)
    assert np.ptp(amounts, axis=1).max() < 1e-3, "one amount an image"
    assert (-25.5 <= amounts[:, 0].min() < -22, 22 < amounts[:, 0].max() <= 25.5) == (True, True)
    means = photographs.mean((1, 2), keepdims=True)
    factors = ((changed(photographs, contrast=0.3) - means) / (photographs - means))[:, 0, 0, 0]
    assert (0.699 <= factors.min() < 0.73, 1.27 < factors.max() <= 1.301) == (True, True)


@given(st.sets(st.sampled_from(sorted(ALL))), st.integers(0, 99))
def test_any_changes_together_keep_the_range_repeat_by_seed_and_draw_as_alone(names: set[str], seed: int) -> None:
    images = np.random.default_rng(1).uniform(0, 255, (16, 6, 8, 3)).astype(np.float32)
    found = changed(images, seed, **{name: ALL[name] for name in names})
    assert found.shape == images.shape
    assert (found.min() >= 0, found.max() <= 255 + 1e-3) == (True, True)
    np.testing.assert_array_equal(found, changed(images, seed, **{name: ALL[name] for name in names}))
    one_by_one = images
    for group in (["flip"], ["shift", "rotation", "zoom"], ["contrast"], ["brightness"]):
        one_by_one = changed(one_by_one, seed, **{name: ALL[name] for name in group if name in names})
    np.testing.assert_array_equal(found, one_by_one)
    if names:
        assert not np.array_equal(found, images)
        assert not np.array_equal(found, changed(images, seed + 1, **{name: ALL[name] for name in names}))
