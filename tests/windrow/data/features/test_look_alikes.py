"""Near copies by features: found where only the common part is the same for all, and each with its likest image."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from harness.features import noise, prepare
from numpy.typing import NDArray
from windrow.data import manifest as manifests
from windrow.data import shards
from windrow.data.features import feature_files, look_alikes
from windrow.data.features.feature_cache import FeatureCache
from windrow.data.features.records import Features, FeatureSource
from windrow.data.splits import SPLITS, STORED
from windrow.model.backbone import Backbone

DRAW = np.random.default_rng(0)
OTHERS = (DRAW.random((300, 64)) * 2 + 5).astype(np.float16)
"""Features that are never negative and much alike: every cosine is above 0.97."""


def test_a_changed_copy_is_found_with_its_original() -> None:
    copies = OTHERS[[7, 200]] + DRAW.normal(0, 0.02, (2, 64)).astype(np.float16)
    tests = np.concatenate([(DRAW.random((50, 64)) * 2 + 5).astype(np.float16), copies])
    rows, others, cosines = look_alikes.nearest(tests, OTHERS)
    assert rows.tolist() == [50, 51]
    assert others.tolist() == [7, 200]
    assert (cosines > look_alikes.LIMIT).all()


def test_no_image_is_a_copy_without_others() -> None:
    for tests, others in ((OTHERS[:0], OTHERS), (OTHERS, OTHERS[:0])):
        assert [len(found) for found in look_alikes.nearest(tests, others)] == [0, 0, 0]


def test_an_image_that_is_the_mean_is_no_copy_of_anything() -> None:
    same = np.ones((3, 4), np.float16)
    assert len(look_alikes.nearest(same, same)[0]) == 0


def test_more_test_images_than_a_block_are_all_compared() -> None:
    tests = (DRAW.random((9000, 8)) * 2).astype(np.float16)
    rows, others, _ = look_alikes.nearest(tests, tests[::-1].copy(), limit=0.9999)
    found = dict(zip(rows.tolist(), others.tolist(), strict=True))
    assert found[0] == 8999
    assert found[8999] == 0


class Drawn:
    """Features that are drawn when they are read, so that only what `nearest` holds takes memory."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: slice, /) -> NDArray[np.float16]:
        start, end, _ = rows.indices(self.count)
        return np.random.default_rng(start).random((end - start, 8), np.float32).astype(np.float16)


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    tracemalloc.start()
    try:
        look_alikes.nearest(Drawn(4096), Drawn(20_000))  # in one product these would need 330 MB
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 200e6


def test_too_many_images_are_not_read_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_alikes, "MOST_PRODUCTS", 100)
    empty = FeatureCache(tmp_path, Backbone("small", Path("small.keras"), "a" * 64, (8, 8, 3), 5))
    found = look_alikes.find(prepare(tmp_path / "data", noise(40)), empty)
    assert (found.missing, found.tests) == ("there are too many images", ())


def test_an_image_that_is_a_copy_in_either_form_is_a_near_copy_once(tmp_path: Path) -> None:
    images, cropped = noise(40), noise(40, first=100)
    folder = prepare(tmp_path / "data", images, cropped)
    test, train = (shards.load_split(folder, split, "crop")[0] for split in ("test", "train"))
    place = next(at for at in range(40) if (cropped[at] == test[2]).all())
    cropped[place] = train[5]
    prepare(folder, images, cropped)

    cache = FeatureCache(tmp_path, Backbone("small", Path("small.keras"), "a" * 64, (8, 8, 3), 64))
    for split, fit in itertools.product(SPLITS, STORED):
        names = np.unique(feature_files.view_keys(folder, split, 1, fit))
        drawn = [np.random.default_rng(list(name.tobytes())).normal(size=64) for name in names]
        cache.add(names, np.asarray(drawn, np.float16))
    cache.refresh()
    found = look_alikes.find(folder, cache)
    assert (found.tests, found.examples) == ((2,), (("test image 2", "train image 5"),))


def test_the_features_of_crops_go_when_the_data_set_has_no_crops_any_more(tmp_path: Path) -> None:
    backbone = Backbone("small", Path("small.keras"), "a" * 64, (8, 8, 3), 5)
    cache = FeatureCache(tmp_path, backbone)
    for cropped in (noise(40, first=100), None):
        folder = prepare(tmp_path / "data", noise(40), cropped)
        stored = manifests.read(folder)
        for split, fit in itertools.product(SPLITS, stored.stored):
            names = feature_files.view_keys(folder, split, 1, fit)
            cache.add(names, np.ones((len(names), 5), np.float16))
        cache.refresh()
        described = Features(FeatureSource("lite0"), backbone, stored.digest, "f", 1, (1, 1, 5))
        feature_files.write(folder, stored, cache, described)
        assert len(list(folder.glob("*-features*.npy"))) == 3 * len(stored.stored)
