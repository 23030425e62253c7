"""Refuse test images that the search has seen, because the accuracy on them would be too high.

Where images are kept in two forms (dataset.fit is both), those that are equal only when they are cropped, and have
one label, are no copies here: they are near copies (division, features.look_alikes), which the evidence counts.
"""

from __future__ import annotations

from pathlib import Path

from windrow.data import hashes, shards
from windrow.data.splits import SPLITS, Split
from windrow.errors import DatasetError

_SHOWN = 10


def check(folder: Path) -> None:
    """Compare every test image with all training and validation images, by the hashes of their pixels.

    Raises:
        DatasetError: some test images have the same pixels as a training or validation image, whatever the labels.
    """
    seen: dict[bytes, tuple[Split, int]] = {}
    for split in ("train", "validation"):
        seen |= {key: (split, index) for index, key in enumerate(_keys(folder, split))}
    tests = _keys(folder, "test")
    common = [(index, seen[key]) for index, key in enumerate(tests) if key in seen]
    if common:
        names = {split: shards.load_names(folder, split) for split in SPLITS}
        pairs = [f"{names['test'][index]} = {names[split][other]}" for index, (split, other) in common[:_SHOWN]]
        more = f"; and {len(common) - _SHOWN} more" if len(common) > _SHOWN else ""
        raise DatasetError(
            f"a test image must not be in training or validation too; got {len(common)} of {len(tests)} in {folder}: "
            f"{'; '.join(pairs)}{more}; remove the copies from the source, and prepare it again"
        )


def _keys(folder: Path, split: Split) -> list[bytes]:
    return hashes.as_keys(shards.load_hashes(folder, split))
