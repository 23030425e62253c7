"""What the trained blocks of a backbone are given: computed once for each view of an image, and kept."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from windrow.data import hashes
from windrow.data.features import views
from windrow.data.splits import StoredFit
from windrow.errors import ServiceError, WindrowError
from windrow.sweep.tuning import upper
from windrow.sweep.tuning.map_files import MapFiles, seconds_per_image
from windrow.training.data import Examples

pytestmark = pytest.mark.tensorflow


def visible(folder: Path) -> set[Path]:
    """The files of a folder without the lock."""
    return {file for file in folder.iterdir() if file.name != ".maps.lock"}


def whole() -> Any:
    """A backbone whose first layer is trained, so that the maps are the images."""
    import keras
    from windrow.model import blocks

    image = keras.Input((12, 12, 3))
    network = keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(image)))
    return blocks.cut(network, 1)


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
        return visible(tmp_path)

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
    cut, training = whole(), images(21, 0)
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
    assert visible(tmp_path) == set()


def test_a_full_disk_is_an_error_that_names_it_and_leaves_no_part(
    composed: bytes, images: Callable[[int, int], Any], tmp_path: Path
) -> None:
    cut, limits = upper.open_network(composed, 1).cut, resource.getrlimit(resource.RLIMIT_FSIZE)
    files = MapFiles(tmp_path, images(21, 0), images(5, 1), 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(ServiceError, match=rf"{tmp_path} must have room for the data; got file size limit reached"):
            files.of(cut)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.glob("*.npy*")) == list(tmp_path.glob(".*.npy*")) == []


def test_what_a_killed_process_left_is_removed(images: Callable[[int, int], Any], tmp_path: Path) -> None:
    left = tmp_path / ".maps-0123.npy.77"
    left.write_bytes(b"a part")
    MapFiles(tmp_path, images(3, 0), images(2, 1), 1).of(whole())
    assert not left.exists()
    assert len(visible(tmp_path)) == 1


def test_of_two_seeds_at_once_one_computes_the_maps_and_the_other_waits_for_them(
    images: Callable[[int, int], Any], tmp_path: Path
) -> None:
    training, validation, cut = images(21, 0), images(5, 1), whole()
    reads: list[Any] = []
    second_came = threading.Event()

    class Counted(np.ndarray[Any, Any]):
        def __iter__(self) -> Iterator[Any]:
            reads.append(self)
            if len(reads) == 2:
                second_came.set()
            second_came.wait(0.3)  # it must not come
            yield from np.asarray(self)

    files = MapFiles(tmp_path, Examples(training.images.view(Counted), training.labels), validation, 1)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: files.of(cut)[0].images, range(2))
    np.testing.assert_array_equal(first, second)
    assert len(reads) == 1
