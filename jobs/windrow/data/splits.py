"""Assign images to splits: seeded, the same on every machine and with every library version.

A built-in source never changes: its splits are drawn, class by class (`draw`). A folder of the user's may grow:
there an image's own pixels decide (`by_content`), so that no image moves to another split when images are added.
"""

from __future__ import annotations

import unicodedata
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from windrow.data import hashes as pixel_hashes
from windrow.data.hashes import Hashes
from windrow.errors import DatasetError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Indices = NDArray[np.int64]

StoredFit = Literal["main", "crop"]
STORED: tuple[StoredFit, ...] = ("main", "crop")
"""The names under which a data set may hold its images: "main" for the only ones, or, where dataset.fit is both, for
the squashed ones; "crop" for the cropped ones next to these."""

_JOINERS = "\u200c\u200d"  # the zero-width non-joiner and joiner, between letters and between emoji
_TEST_STREAM, _VALIDATION_STREAM = 0, 1


def check_names(names: tuple[str, ...]) -> None:
    """Check that there are two classes or more, with different names that can be printed.

    Raises:
        DatasetError: there are fewer, a name is empty or has characters that can't be printed, or two names look the
            same: they differ at most in spaces, or in how Unicode writes an accent.
    """
    if len(names) < 2:
        got = f"only {names[0]!r}" if names else "none"
        raise DatasetError(f"a data set needs at least two classes; got {got}; add images of another class")
    check_different(names)


def check_different(names: tuple[str, ...]) -> None:
    """Check that names of classes can be printed and look different, as `check_names` does for two or more.

    Raises:
        DatasetError: they can't, or don't.
    """
    if odd := [name for name in names if not name.strip() or not is_printable(name)]:
        got = f"got {odd[0]!r}; rename it: its folder, its line in labels.txt, or its label in the feed"
        raise DatasetError(f"a class needs a name that can be printed; {got}")
    seen: dict[str, str] = {}
    for name in names:
        look = unicodedata.normalize("NFC", " ".join(name.split()))
        if (other := seen.get(look)) is not None:
            got = f"{name!r} twice" if other == name else f"{other!a} and {name!a}, which look the same"
            raise DatasetError(
                f"classes need different names; got {got}; rename one: its folder, its line in labels.txt, or "
                "its label in the feed"
            )
        seen[look] = name


def is_printable(name: str) -> bool:
    """Return whether a name has printable characters alone; joiners count, which some scripts and emoji need."""
    return all(each.isprintable() or each in _JOINERS for each in name)


def check_classes(labels: Indices, names: tuple[str, ...], splits: int) -> None:
    """Check that there are two classes or more, and that every class has at least `splits` images: one for each split.

    Raises:
        DatasetError: there are fewer than two classes, or a class has too few images.
    """
    check_names(names)
    counts = np.bincount(labels, minlength=len(names))
    small = [f"{name!r} with {count}" for name, count in zip(names, counts, strict=True) if count < splits]
    if small:
        raise DatasetError(
            f"a class needs at least {splits} images, one a split; got {', '.join(small)}; add images or remove it"
        )


def by_content(hashes: Hashes, validation: float, test: float | None, seed: int) -> dict[Split, Indices]:
    """Return the indices of images by split, in random order; an image's pixels, the seed and the shares alone decide.

    The hash and the seed give two numbers between 0 and 1. If the first is below `test`, the image is a test image;
    else, if the second is below `validation`, a validation image. So copies are always in one split, and a larger share
    only takes images from other splits.

    Args:
        hashes: the images' hashes, uint8 (n, 16).
        validation: share of the images that are not test images, between 0 and 1.
        test: share of the images that become test images, between 0 and 1; None if the source has its own test split.
        seed: seed of the splits, 0 or more.
    """
    salt = seed.to_bytes(16, "little")
    mixed = b"".join(blake2b(key, digest_size=16, salt=salt).digest() for key in pixel_hashes.as_keys(hashes))
    raw = np.frombuffer(mixed, "<u8").reshape(-1, 2)
    first, second = ((raw >> 11) * 2.0**-53).T  # 53 bits, all that a float holds
    order = np.lexsort((raw[:, 1], raw[:, 0])).astype(np.int64)
    is_test = np.zeros(len(raw), bool) if test is None else first < test
    is_validation = ~is_test & (second < validation)
    parts: dict[Split, Indices] = {
        "train": order[~(is_test | is_validation)[order]],
        "validation": order[is_validation[order]],
    }
    if test is not None:
        parts["test"] = order[is_test[order]]
    return parts


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
