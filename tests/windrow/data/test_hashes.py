"""A hash is of an image's pixels and shape, and of nothing else."""

from __future__ import annotations

import numpy as np
from windrow.data import hashes


def test_equal_images_alone_have_one_hash() -> None:
    images = np.zeros((4, 2, 3, 1), np.uint8)
    images[1, 1, 2, 0] = images[3, 0, 0, 0] = 1
    found = hashes.as_keys(hashes.of(images))
    assert found[0] == found[2]
    assert len(set(found)) == 3


def test_the_same_bytes_in_another_shape_are_another_image() -> None:
    shapes = [(1, 2, 6, 1), (1, 6, 2, 1), (1, 2, 2, 3)]
    assert len({hashes.of(np.zeros(shape, np.uint8)).tobytes() for shape in shapes}) == 3


def test_an_image_has_the_same_hash_wherever_it_lies_in_memory() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3)).astype(np.uint8)
    np.testing.assert_array_equal(hashes.of(images[::-1, :, :])[::-1], hashes.of(np.asfortranarray(images)))


def test_the_hash_is_pinned() -> None:
    # If it changes, every folder's images change sides, and no version's images are recognized.
    assert (
        hashes.of(np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)).tobytes().hex()
        == "4441ecd618742cdda04ba7bf24dd208f"
    )


def test_no_images_have_no_hashes() -> None:
    assert hashes.of(np.empty((0, 4, 4, 1), np.uint8)).shape == (0, 16)
