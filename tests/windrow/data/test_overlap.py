from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from windrow.data import overlap, shards
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
    with pytest.raises(DatasetError, match=r"got 3 of 5 in .*; remove the copies from the source"):
        overlap.check(folder)
