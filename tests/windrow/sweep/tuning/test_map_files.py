"""What the trained blocks of a backbone are given: computed once for each view of an image, and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from windrow.data import hashes
from windrow.data.features import views
from windrow.data.splits import StoredFit
from windrow.errors import WindrowError
from windrow.sweep.tuning import upper
from windrow.sweep.tuning.map_files import MapFiles, seconds_per_image

pytestmark = pytest.mark.tensorflow


def test_each_view_of_an_image_has_its_maps(composed: bytes, images: Callable[[int, int], Any], tmp_path: Path) -> None:
    cut = upper.open_network(composed, 1).cut
    training, validation = images(21, 0), images(5, 1)
    found, kept = MapFiles(tmp_path, training, validation, 3).of(cut)
    assert (found.images.shape, kept.images.shape) == ((21, 3, *cut.shape), (5, 1, *cut.shape))
    for index in (0, 20):
        key = hashes.of(training.images[index : index + 1])[0].tobytes()
        drawn = np.stack([views.view(training.images[index], key, number) for number in range(3)])
        wanted = np.asarray(cut.trunk[0](drawn.astype(np.float32), training=False))
        np.testing.assert_allclose(found.images[index], wanted, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found.labels, training.labels)


def test_on_all_images_training_also_has_those_for_validation(
    composed: bytes, images: Callable[[int, int], Any], tmp_path: Path
) -> None:
    cut = upper.open_network(composed, 1).cut
    files = MapFiles(tmp_path, images(21, 0), images(5, 1), 2)
    (alone, validation), (everything, same) = files.of(cut), files.of(cut, on_all=True)
    np.testing.assert_array_equal(everything.images[:21], alone.images)
    np.testing.assert_array_equal(everything.images[21:, :1], validation.images)
    np.testing.assert_array_equal(everything.labels, np.concatenate([alone.labels, validation.labels]))
    np.testing.assert_array_equal(same.images, validation.images)


def test_the_next_seed_finds_the_maps_and_other_blocks_or_views_have_others(
    composed: bytes, images: Callable[[int, int], Any], tmp_path: Path
) -> None:
    def files(blocks: int, number: int, fit: StoredFit = None) -> set[Path]:
        MapFiles(tmp_path, images(21, 0), images(5, 1), number, fit).of(upper.open_network(composed, blocks).cut)
        return set(tmp_path.iterdir())

    first = files(1, 2)
    written = {file: file.stat().st_mtime_ns for file in first}
    assert files(1, 2) == first
    assert {file: file.stat().st_mtime_ns for file in first} == written
    assert len(files(1, 1)) == 2
    assert len(files(2, 1)) == 3
    assert len(files(2, 1, "crop")) == 4


def test_without_layers_before_the_blocks_the_maps_are_the_images(
    images: Callable[[int, int], Any], tmp_path: Path
) -> None:
    import keras
    from windrow.model import blocks

    image = keras.Input((12, 12, 3))
    network = keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(image)))
    cut, training = blocks.cut(network, 1), images(21, 0)
    found, _ = MapFiles(tmp_path, training, images(5, 1), 2).of(cut)
    assert found.images.dtype == np.uint8
    np.testing.assert_array_equal(found.images[:, 0], training.images)
    np.testing.assert_array_equal(found.images[:, 1], training.images[:, :, ::-1])
    assert seconds_per_image(cut, training.images) == 0


def test_maps_that_float16_can_not_hold_are_refused(images: Callable[[int, int], Any], tmp_path: Path) -> None:
    import keras
    from windrow.model import blocks

    image = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(2, 3)(keras.layers.Rescaling(1e6)(image))
    cut = blocks.cut(keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)), 1)
    with pytest.raises(WindrowError, match=r"must be finite, and at most 65,504; got .*; change promotion.fine_tune"):
        MapFiles(tmp_path, images(21, 0), images(5, 1), 1).of(cut)
    assert list(tmp_path.iterdir()) == []
