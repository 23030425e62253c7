from __future__ import annotations

import numpy as np
import pytest
from windrow.training.augment import shift_and_rotate

pytestmark = pytest.mark.tensorflow


def moved(images: np.ndarray, shift: float, rotation: float, seed: int = 0) -> np.ndarray:
    import tensorflow as tf

    return np.asarray(shift_and_rotate(tf.constant(images, tf.float32), tf.constant([seed, 0]), shift, rotation))


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
