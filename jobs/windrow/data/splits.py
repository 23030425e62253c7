"""Assign images to splits: stratified, seeded, the same on every machine and with every library version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from windrow.errors import DatasetError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Indices = NDArray[np.int64]

_TEST_STREAM, _VALIDATION_STREAM = 0, 1


def check_classes(labels: Indices, names: Sequence[str], splits: int) -> None:
    """Check that there are two classes or more, and that every class has at least `splits` images: one for each split.

    Raises:
        DatasetError: there are fewer than two classes, or a class has too few images.
    """
    if len(names) < 2:
        got = f"only {names[0]!r}" if names else "none"
        raise DatasetError(f"a data set needs at least two classes; got {got}; add images of another class")
    counts = np.bincount(labels, minlength=len(names))
    small = [f"{name!r} with {count}" for name, count in zip(names, counts, strict=True) if count < splits]
    if small:
        raise DatasetError(
            f"a class needs at least {splits} images, one a split; got {', '.join(small)}; add images or remove it"
        )


def hold_out(
    labels: Indices, indices: Indices, share: float, seed: int, stream: int, leave: int = 1
) -> tuple[Indices, Indices]:
    """Divide `indices` into (kept, held out), both in random order.

    Of each class, the rounded `share` is held out, but at least one image is held out and at least `leave` are kept.

    Args:
        labels: class of every image, int64 (n,).
        indices: the images to divide; each class among them has more than `leave`.
        share: share to hold out, between 0 and 1.
        seed: seed of the draw, 0 or more.
        stream: number that separates draws with the same seed.
        leave: least number of images per class to keep.
    """
    drawn = indices[_draw(len(indices), seed, stream)]
    held = np.zeros(len(drawn), dtype=bool)
    for label in np.unique(labels[drawn]):
        members = np.flatnonzero(labels[drawn] == label)
        count = min(max(1, round(share * len(members))), len(members) - leave)
        held[members[:count]] = True
    return drawn[~held], drawn[held]


def draw(labels: Indices, validation: float, test: float | None, seed: int) -> dict[Split, Indices]:
    """Divide a source's training images among the splits; return the indices of each split's images, in random order.

    Args:
        labels: class of every image, int64 (n,).
        validation: share for validation of what the test split leaves over.
        test: share for the test split; None if the source has its own, and then the result has no "test".
        seed: seed of the draw, 0 or more.
    """
    rest = np.arange(len(labels), dtype=np.int64)
    parts: dict[Split, Indices] = {}
    if test is not None:
        # Keep two images per class, one for training and one for validation.
        rest, parts["test"] = hold_out(labels, rest, test, seed, _TEST_STREAM, leave=2)
    parts["train"], parts["validation"] = hold_out(labels, rest, validation, seed, _VALIDATION_STREAM)
    return parts


def _draw(count: int, seed: int, stream: int) -> Indices:
    """Return a random permutation of range(count), which depends only on `count`, `seed` and `stream`.

    The permutation comes from PCG64's raw stream, because NumPy does not guarantee that Generator's methods stay the
    same across versions.
    """
    raw = np.random.PCG64([seed, stream]).random_raw(count)
    return np.argsort(raw, kind="stable").astype(np.int64)
