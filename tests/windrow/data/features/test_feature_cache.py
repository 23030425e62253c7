"""The cache of features: whole blocks, found by an image's hash, read in any order, removed when no one reads them."""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from harness.disk import fill, small_disk
from windrow.data.features import feature_cache
from windrow.data.features.feature_cache import FeatureCache, Keys, Values
from windrow.errors import ServiceError
from windrow.model.backbone import Backbone

BACKBONE = Backbone("small", Path("small.keras"), "a" * 64, (8, 8, 3), 5)


def block(seed: int, count: int = 40) -> tuple[Keys, Values]:
    """Names and features of some views."""
    draw = np.random.default_rng(seed)
    hashes = draw.integers(0, 256, (count, 16)).astype(np.uint8)
    names = feature_cache.keys(hashes, np.full(count, seed, np.uint8))
    return names, draw.normal(size=(count, 5)).astype(np.float16)


@contextmanager
def few_files(number: int) -> Iterator[None]:
    """Let the process open only so many files more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    full = max(int(each.name) for each in Path("/dev/fd").iterdir()) + 1
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (full, hard))
        with suppress(OSError):
            while True:
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        resource.setrlimit(resource.RLIMIT_NOFILE, (full + number, hard))
        yield


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path, BACKBONE)


def test_an_empty_cache_holds_nothing(cache: FeatureCache) -> None:
    assert not cache.holds(block(1)[0]).any()


def test_what_was_added_is_read_in_the_order_asked_for(cache: FeatureCache, tmp_path: Path) -> None:
    (first, values), (second, others) = block(1), block(2)
    cache.add(first, values)
    cache.add(second, others)
    cache.refresh()
    order = np.random.default_rng(3).permutation(80)
    names = np.concatenate([first, second])[order]
    assert (cache.read(names) == np.concatenate([values, others])[order]).all()
    assert FeatureCache(tmp_path, BACKBONE).holds(names).all()
    assert not cache.holds(block(4)[0]).any()


def test_a_hash_that_ends_in_zeros_is_not_mistaken_for_a_shorter_one(cache: FeatureCache) -> None:
    hashes = np.zeros((3, 16), np.uint8)
    hashes[1, 0], hashes[2, 15] = 1, 1
    names = feature_cache.keys(hashes, np.array([0, 0, 0], np.uint8))
    cache.add(names[:2], np.ones((2, 5), np.float16))
    cache.refresh()
    assert cache.holds(names).tolist() == [True, True, False]
    assert not cache.holds(feature_cache.keys(hashes[:1], np.array([1], np.uint8))).any()


def test_an_unknown_view_cannot_be_read(cache: FeatureCache) -> None:
    with pytest.raises(KeyError):
        cache.read(block(1)[0])


def test_another_backbone_has_a_folder_of_its_own(tmp_path: Path, cache: FeatureCache) -> None:
    names, values = block(1)
    cache.add(names, values)
    other = FeatureCache(tmp_path, Backbone("small", Path("small.keras"), "b" * 64, (8, 8, 3), 5))
    assert not other.holds(names).any()


@pytest.mark.parametrize("kept", [0, 3, 200, 700, 1000])
def test_a_block_that_was_cut_off_is_not_used(cache: FeatureCache, kept: int) -> None:
    names, values = block(1)
    cache.add(names, values)
    (path,) = cache.folder.glob("*.block")
    content = path.read_bytes()
    assert len(content) > 1000
    path.write_bytes(content[:kept])
    cache.refresh()
    assert not cache.holds(names).any()
    cache.add(names, values)
    cache.refresh()
    assert (cache.read(names) == values).all()


def test_more_blocks_than_the_process_may_open_files_are_read(cache: FeatureCache) -> None:
    blocks = [block(seed, 2) for seed in range(40)]
    with few_files(16):  # threads that earlier tests left in this process may take some
        for names, values in blocks:
            cache.add(names, values)
        cache.refresh()
        found = cache.read(np.concatenate([names for names, _ in blocks]))
    assert (found == np.concatenate([values for _, values in blocks])).all()


def test_a_block_is_not_taken_for_broken_when_no_more_files_can_be_opened(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.add(*block(1))
    listed = list(cache.folder.iterdir())
    monkeypatch.setattr(Path, "glob", lambda *_: listed)  # which opens the folder
    with few_files(0), pytest.raises(OSError, match="Too many open files") as caught:
        cache.refresh()
    assert caught.value.errno == errno.EMFILE


def test_two_jobs_that_add_the_same_block_leave_one(tmp_path: Path, cache: FeatureCache) -> None:
    names, values = block(1)
    for each in (cache, FeatureCache(tmp_path, BACKBONE)):
        each.add(names, values)
    assert len(list(cache.folder.iterdir())) == 1


def test_overlapping_blocks_of_two_jobs_are_read_once(cache: FeatureCache) -> None:
    names, values = block(1)
    cache.add(names[:30], values[:30])
    cache.add(names[10:], values[10:])
    cache.refresh()
    assert (cache.read(names) == values).all()


def test_a_full_disk_is_said_and_keeps_the_blocks_before(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        cache = FeatureCache(disk, BACKBONE)
        names, values = block(1)
        cache.add(names, values)
        fill(disk)
        with pytest.raises(ServiceError, match="must have room for the data; got no space left; free some"):
            cache.add(*block(2, count=20_000))
        cache.refresh()
        assert (cache.read(names) == values).all()
        assert len(list(cache.folder.iterdir())) == 1


def test_blocks_that_no_job_has_read_for_60_days_are_removed(tmp_path: Path, cache: FeatureCache) -> None:
    (used, values), (unused, _) = block(1), block(2)
    cache.add(used, values)
    cache.add(unused, values)
    long_ago = time.time() - 61 * 86_400
    for path in cache.folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    cache.refresh()
    cache.mark_used(used)
    assert feature_cache.remove_unused(tmp_path) == 1
    cache.refresh()
    assert cache.holds(used).all()
    assert not cache.holds(unused).any()


def test_blocks_that_another_job_removed_first_are_passed_over(
    tmp_path: Path, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, values = block(1)
    cache.add(names, values)
    cache.refresh()
    listed = list(cache.folder.iterdir())
    listed[0].unlink()
    cache.mark_used(names)
    cache.refresh()
    assert not cache.holds(names).any()
    monkeypatch.setattr(Path, "glob", lambda *_: listed)  # as if it had been removed after the folder was listed
    assert feature_cache.remove_unused(tmp_path) == 0
