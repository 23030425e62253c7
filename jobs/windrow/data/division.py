"""Divide the images of a source among the splits, and find what is odd about them.

    division = divide(source, page.dataset)

A folder of the user's is divided by its images' pixels (splits.by_content), without images that their copies make
useless. A built-in source is drawn class by class (splits.draw), and copies are not left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from windrow.data import copies, hashes, splits
from windrow.data.copies import LeftOut, Pool
from windrow.data.hashes import Hashes
from windrow.data.manifest import Copies, NearCopies, in_splits
from windrow.data.sources import Source
from windrow.data.splits import SPLITS, Indices, Split
from windrow.errors import DatasetError
from windrow.experiment import DatasetSection
from windrow.plural import counted

PRECISE = 0.05
"""The half width of an accuracy's interval above which a split is called too small: below 381 images."""

_SHOWN = 5

Counts = dict[str, dict[str, int]]
"""Number of images by split and name of the class."""


@dataclass(frozen=True, eq=False)
class SplitImages:
    """Some images of a source: the rows `indices` of these arrays, in the order of `indices`.

    Attributes:
        images: uint8 (m, height, width, channels), m at least n.
        labels: int64 (m,), indices into the source's classes.
        hashes: uint8 (m, 16).
        names: names of all m images.
        indices: int64 (n,), rows of the arrays.
        cropped: like `images`, the same images cropped; None unless dataset.fit is both.
        cropped_hashes: like `hashes`, of the cropped images.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    hashes: Hashes
    names: Sequence[str]
    indices: Indices
    cropped: NDArray[np.uint8] | None = None
    cropped_hashes: Hashes | None = None


@dataclass(frozen=True, eq=False)
class Division:
    """A source's images by split, and what a user should know about them; manifest.Manifest describes the fields."""

    parts: dict[Split, SplitImages]
    class_counts: Counts
    left_out: dict[str, str]
    copies: Copies
    near_copies: NearCopies
    warnings: tuple[str, ...]


def divide(source: Source, section: DatasetSection) -> Division:
    """Divide a source as the page asks.

    Raises:
        DatasetError: there are fewer than two classes or two of one name, a class or a split has too few images, or all
            images of a user's folder are equal.
    """
    splits.check_names(source.labels)
    train = _whole(source.train_images, source.train_labels, source.train_names, "training image")
    train = _with_crops(train, source.train_cropped)
    test = None
    if source.test_images is not None and source.test_labels is not None:
        test = _whole(source.test_images, source.test_labels, source.test_names, "test image")
        test = _with_crops(test, source.test_cropped)
    pool = _pool(train, test, source.labels)
    without = copies.left_out(pool) if source.own else LeftOut()
    parts = _by_content(train, test, section, without) if source.own else _drawn(train, test, section, source.labels)
    counts: Counts = {split: _count(parts[split], source.labels) for split in SPLITS}
    warnings, same = [*source.notes, *without.sentences(pool)], copies.find(pool, without)
    if source.own:
        cures = _cures(own_test=test is not None)
        _check(counts, cures, without, [*warnings, str(same)] if same.groups else warnings)
        warnings += _warnings(counts, cures)
    near = _near_copies(parts) if source.train_names else NearCopies()
    return Division(
        parts,
        counts,
        {**source.left_out, **without.by_name(pool)},
        same,
        near,
        (*warnings, *([str(near)] if near.images else [])),
    )


def _whole(images: NDArray[np.uint8], labels: Indices, names: Sequence[str], kind: str) -> SplitImages:
    """Return all images of an array. Images that are not files are named by `kind` and their number, from 0."""
    every = np.arange(len(labels), dtype=np.int64)
    return SplitImages(images, labels, hashes.of(images), names or [f"{kind} {number}" for number in every], every)


def _with_crops(images: SplitImages, cropped: NDArray[np.uint8] | None) -> SplitImages:
    return images if cropped is None else replace(images, cropped=cropped, cropped_hashes=hashes.of(cropped))


def _pool(train: SplitImages, test: SplitImages | None, classes: Sequence[str]) -> Pool:
    names, labels, found, crops = list(train.names), train.labels, train.hashes, train.cropped_hashes
    if test is not None:
        names += test.names
        labels, found = np.concatenate([labels, test.labels]), np.concatenate([found, test.hashes])
        if crops is not None and test.cropped_hashes is not None:
            crops = np.concatenate([crops, test.cropped_hashes])
    return Pool(names, labels, found, len(train.labels), classes, crops)


def _by_content(
    train: SplitImages, test: SplitImages | None, section: DatasetSection, without: LeftOut
) -> dict[Split, SplitImages]:
    count = len(train.labels)
    usable = np.array([index for index in range(count) if index not in without], np.int64)
    share = section.test if test is None else None
    chosen = splits.by_content(train.hashes[usable], section.validation, share, section.seed)
    parts = {split: replace(train, indices=usable[rows]) for split, rows in chosen.items()}
    if test is not None:
        usable = np.array([row for row in range(len(test.labels)) if count + row not in without], np.int64)
        parts["test"] = replace(test, indices=usable)
    return parts


def _drawn(
    train: SplitImages, test: SplitImages | None, section: DatasetSection, classes: tuple[str, ...]
) -> dict[Split, SplitImages]:
    splits.check_classes(train.labels, classes, 3 if test is None else 2)
    share = section.test if test is None else None
    chosen = splits.draw(train.labels, section.validation, share, section.seed)
    parts = {split: replace(train, indices=rows) for split, rows in chosen.items()}
    return parts if test is None else {**parts, "test": test}


def _count(part: SplitImages, classes: Sequence[str]) -> dict[str, int]:
    counts = np.bincount(part.labels[part.indices], minlength=len(classes))
    return dict(zip(classes, counts.tolist(), strict=True))


def _near_copies(parts: Mapping[Split, SplitImages]) -> NearCopies:
    """Return the test images that look nearly like others; their number is None if there are too many to compare.

    Where images are also kept cropped, those whose crops look alike count, too, with equal crops among them.
    """
    if sum(len(part.indices) for part in parts.values()) > copies.MOST_IMAGES:
        return NearCopies(None)
    names = {split: [part.names[index] for index in part.indices] for split, part in parts.items()}
    others = [*names["train"], *names["validation"]]
    pairs: dict[int, int] = {}
    for images in ({split: part.images for split, part in parts.items()}, _cropped(parts)):
        found = {split: copies.looks(images[split], parts[split].indices) for split in images}
        if found:
            pairs = dict(copies.near(found["test"], found["train"] + found["validation"])) | pairs
    examples = tuple((names["test"][test], others[pairs[test]]) for test in sorted(pairs)[: copies.SHOWN])
    return NearCopies(len(pairs), examples)


def _cropped(parts: Mapping[Split, SplitImages]) -> dict[Split, NDArray[np.uint8]]:
    """Return the cropped images by split; none unless dataset.fit is both."""
    return {split: part.cropped for split, part in parts.items() if part.cropped is not None}


def _cures(own_test: bool) -> dict[str, str]:
    return {
        "train": "add images, or lower dataset.validation" + ("" if own_test else " or dataset.test"),
        "validation": "add images, or raise dataset.validation",
        "test": "add images to the test split" if own_test else "add images, or raise dataset.test",
    }


def _check(counts: Counts, cures: Mapping[str, str], without: LeftOut, notes: Sequence[str]) -> None:
    """Check that every split has an image, and every class a training image.

    Raises:
        DatasetError: a split or a class lacks an image; the message has the numbers, and what was left out.
    """
    besides = "".join(f"\nnote: {note}" for note in notes)
    cure = "correct the labels or remove the copies, " if without.disputed else ""
    cure += "set dataset.fit to squash, " if without.disputed_crops else ""
    cure += "remove one of each from training or test, " if without.tested else ""
    totals = {split: sum(classes.values()) for split, classes in counts.items()}
    for split, total in totals.items():
        if not total:
            got = ", ".join(f"{count} {name}" for name, count in totals.items())
            raise DatasetError(f"every split needs an image; got {got}{without}; {cure}{cures[split]}{besides}")
    if untrained := [name for name, count in counts["train"].items() if not count]:
        raise DatasetError(
            f"every class needs a training image; got {in_splits(counts, untrained, _SHOWN)}{without}; "
            f"{cure}add images, remove the class, or choose another dataset.seed{besides}"
        )


def _warnings(counts: Counts, cures: Mapping[str, str]) -> list[str]:
    """Return a sentence for each of validation and test that lacks classes, or whose accuracy is too uncertain."""
    found = []
    for split in SPLITS[1:]:
        total, missing = sum(counts[split].values()), [name for name, count in counts[split].items() if not count]
        if missing:
            found.append(
                f"{len(missing)} of {len(counts[split])} classes without a {split} image, so what a network makes of "
                f"them is not measured there: {in_splits(counts, missing, _SHOWN)}; add images of them"
            )
        if (margin := half_width(total)) > PRECISE:
            images = counted(total, f"{split} image")
            found.append(f"{images}: an accuracy is known to ±{margin:.2f} only; {cures[split]}")
    return found


def half_width(count: int) -> float:
    """Return half the width of Wilson's 95 % interval of an accuracy of 0.5 that `count` images, 1 or more, gave.

    No other accuracy has a wider interval. Source: E. B. Wilson, "Probable inference, the law of succession, and
    statistical inference", Journal of the American Statistical Association 22, 1927. At 0.5 his formula is
    z / (2 sqrt(n + z²)).
    """
    z = NormalDist().inv_cdf(0.975)
    return float(z / (2 * np.sqrt(count + z * z)))
