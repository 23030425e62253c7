"""The guard before training and promotion: no test image is one of the search's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from windrow.data import hashes, overlap, shards
from windrow.data.splits import SPLITS
from windrow.errors import DatasetError


def written(folder: Path, **images: list[int]) -> Path:
    """Splits of 2 x 2 images, each of one grey; labels follow the grey."""
    for split in SPLITS:
        greys = np.asarray(images[split], np.uint8)
        files = shards.split_files(folder, split)
        np.save(files[0], np.broadcast_to(greys[:, None, None, None], (len(greys), 2, 2, 1)))
        np.save(files[1], greys.astype(np.int64) % 2)
    return folder


def test_splits_without_a_common_image_pass(tmp_path: Path) -> None:
    overlap.check(written(tmp_path, train=[1, 2, 2], validation=[3], test=[4, 4]))


def test_test_images_that_training_or_validation_has_too_are_refused_with_their_number(tmp_path: Path) -> None:
    folder = written(tmp_path, train=[1, 2], validation=[3], test=[2, 3, 3, 4, 5])
    pairs = "test image 0 = train image 1; test image 1 = validation image 0; test image 2 = validation image 0"
    with pytest.raises(DatasetError, match=rf"got 3 of 5 in .*: {pairs}; remove the copies from the source"):
        overlap.check(folder)


def test_hashes_that_were_prepared_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path, train=[1, 2], validation=[3], test=[4])
    for split in SPLITS:
        np.save(folder / f"{split}-hashes.npy", hashes.of(shards.load_split(folder, split)[0]))
    monkeypatch.setattr(hashes, "of", lambda _: pytest.fail("an image is hashed"))
    overlap.check(folder)


def test_of_many_ten_pairs_are_listed_by_the_names_of_their_files(tmp_path: Path) -> None:
    folder = written(tmp_path, train=list(range(20)), validation=[30], test=list(range(12)))
    names = {split: [f"{split}/{number}.png" for number in range(20)] for split in SPLITS}
    (folder / "names.json").write_text(json.dumps(names))
    with pytest.raises(DatasetError, match=r": test/0.png = train/0.png; .*test/9.png = train/9.png; and 2 more;"):
        overlap.check(folder)
