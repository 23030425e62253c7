"""Refuse test images that the search has seen, because the accuracy on them would be too high."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from windrow.data import shards
from windrow.data.splits import Split
from windrow.errors import DatasetError

_DIGEST_BYTES = 16


def check(folder: Path) -> None:
    """Compare every test image with all training and validation images, by a digest of its pixels.

    Raises:
        DatasetError: some test images have the same pixels as a training or validation image, whatever the labels.
    """
    seen = {*_digests(folder, "train"), *_digests(folder, "validation")}
    common = [digest in seen for digest in _digests(folder, "test")]
    if any(common):
        raise DatasetError(
            f"a test image must not be in training or validation too; got {sum(common)} of {len(common)} in {folder}; "
            "remove the copies from the source, and prepare it again"
        )


def _digests(folder: Path, split: Split) -> Iterator[bytes]:
    images, _ = shards.load_split(folder, split)
    return (blake2b(image.tobytes(), digest_size=_DIGEST_BYTES).digest() for image in images)
