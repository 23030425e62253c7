"""Find images that a source holds more than once: with the same pixels, or nearly the same.

In a folder of the user's, images with the same pixels are in one split by construction (splits.by_content). Images that
can't be used are left out: those whose copies have another label, also copies of the crop alone where images are kept
cropped, too; and training images that the folder's own test split has as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from windrow.data import hashes
from windrow.data.hashes import Hashes
from windrow.data.manifest import Copies
from windrow.errors import DatasetError
from windrow.plural import counted

SHOWN = 10
"""The most groups, pairs, and images of a group that a manifest lists."""

NEAR_BITS = 8
"""The most bits in which the difference hashes of near copies differ, of 64."""

NEAR_PIXELS = 0.2
"""The most by which the pixels of near copies, reduced to 9 x 8, differ on the average, as a share of their contrast.

The bits alone find few: of the ten first pairs of TrashNet's photographs within 2 bits, one showed the same thing. With
both limits 22 of the 24 first did.
"""

MOST_LIKE = 1000
"""With how many images of like bits a test image's pixels are compared: plain images have all bits alike."""

MOST_IMAGES = 100_000
"""The most images among which near copies are looked for: 20,000 with 80,000 take 1 to 4 s and 0.1 GB."""

_SAID = 5
_BLOCK_BYTES = 1 << 25


@dataclass(frozen=True, eq=False)
class Pool:
    """All images of a source.

    Attributes:
        names: name of each image.
        labels: int64 (n,), indices into `classes`.
        hashes: uint8 (n, 16).
        trained: number of images outside the source's own test split; they come first.
        classes: names of the classes.
        cropped: like `hashes`, of the same images cropped; None unless dataset.fit is both.
    """

    names: Sequence[str]
    labels: NDArray[np.int64]
    hashes: Hashes
    trained: int
    classes: Sequence[str]
    cropped: Hashes | None = None

    @cached_property
    def groups(self) -> list[list[int]]:
        """Return the indices of images with the same pixels, a list per group; a lone image is a group, too."""
        return _groups(self.hashes)

    @property
    def groups_of_crops(self) -> list[list[int]]:
        """Return the indices of images with the same crop, as in `groups`; empty unless dataset.fit is both."""
        return [] if self.cropped is None else _groups(self.cropped)


def _groups(found: Hashes) -> list[list[int]]:
    groups = defaultdict(list)
    for index, key in enumerate(hashes.as_keys(found)):
        groups[key].append(index)
    return list(groups.values())


@dataclass(frozen=True)
class LeftOut:
    """The images that can't be used, each with the image that is the reason, as indices in the pool.

    Attributes:
        disputed: an image whose copy has another label → this copy.
        disputed_crops: another image whose crop is that of an image with another label → the latter.
        tested: a training image that the source's own test split has too → the test image.
    """

    disputed: dict[int, int] = field(default_factory=dict)
    disputed_crops: dict[int, int] = field(default_factory=dict)
    tested: dict[int, int] = field(default_factory=dict)

    def __contains__(self, index: int) -> bool:
        """Return whether an image is left out."""
        return index in self.disputed or index in self.disputed_crops or index in self.tested

    def by_name(self, pool: Pool) -> dict[str, str]:
        """Return the reason why each of these images is left out, by the image's name."""
        whole = {**self.disputed, **self.tested}
        return self._reasons(pool, whole) | self._reasons(pool, self.disputed_crops, " when cropped")

    def __str__(self) -> str:
        """Return how many images are left out and why, as a clause that begins with a comma; "" if none is."""
        disputed = f"{len(self.disputed):,} images whose copies have another label" if self.disputed else ""
        crops = f"{len(self.disputed_crops):,} whose crops have another label, too" if self.disputed_crops else ""
        tested = f"{counted(len(self.tested), 'training image')} with the pixels of test images" if self.tested else ""
        clause = " and ".join(each for each in (disputed, crops, tested) if each)
        return clause and f", without {clause}"

    def sentences(self, pool: Pool) -> list[str]:
        """Return a sentence for each reason that occurs, with the names of the first images."""
        said = []
        if self.disputed:
            said.append(
                f"left out {len(self.disputed):,} images whose copies have another label, because neither label can be "
                f"trusted: {self._listed(pool, self.disputed)}; correct the labels or remove the copies"
            )
        if self.disputed_crops:
            said.append(
                f"left out {counted(len(self.disputed_crops), 'image')} with the crop of images that have another "
                f"label, because a network that sees crops can't tell them apart: "
                f"{self._listed(pool, self.disputed_crops, ' when cropped')}; correct the labels, or let dataset.fit "
                "be squash"
            )
        if self.tested:
            said.append(
                f"left out {counted(len(self.tested), 'training image')} with the pixels of test images: "
                f"{self._listed(pool, self.tested)}; remove one of each"
            )
        return said

    def _listed(self, pool: Pool, found: dict[int, int], how: str = "") -> str:
        reasons = self._reasons(pool, dict(list(found.items())[:_SAID]), how)
        more = f" and {len(found) - _SAID:,} more" if len(found) > _SAID else ""
        return "; ".join(f"{name} ({reason})" for name, reason in reasons.items()) + more

    def _reasons(self, pool: Pool, found: dict[int, int], how: str = "") -> dict[str, str]:
        return {
            pool.names[index]: f"the same pixels{how} as {pool.names[other]}, labelled {label}"
            for index, other in found.items()
            for label in [pool.classes[pool.labels[other]]]
        }


def left_out(pool: Pool) -> LeftOut:
    """Find the images that can't be used because of their copies.

    If copies have different labels, all of them are left out; so are images with the same crop, where images are kept
    cropped as well. If training and test images have the same pixels and label, the training images are left out.

    Raises:
        DatasetError: all images have the same pixels.
    """
    groups, found = pool.groups, LeftOut()
    if len(groups) == 1:
        raise DatasetError(
            f"images must differ; got {len(groups[0]):,} with the same pixels, e.g. {pool.names[groups[0][0]]} and "
            f"{pool.names[groups[0][-1]]}; write them to files again"
        )
    for group in groups:
        if disputed := _disputed(pool, group):
            found.disputed.update(disputed)
        elif group[-1] >= pool.trained:
            found.tested.update({index: group[-1] for index in group if index < pool.trained})
    for group in pool.groups_of_crops:
        disputed = _disputed(pool, group)
        found.disputed_crops.update({index: other for index, other in disputed.items() if index not in found})
    return found


def _disputed(pool: Pool, group: Sequence[int]) -> dict[int, int]:
    """Return each image of a group of copies with one that has another label; empty if all have the same label."""
    first: dict[int, int] = {}  # image of each label
    for index in group:
        first.setdefault(int(pool.labels[index]), index)
    if len(first) < 2:
        return {}
    return {
        index: next(other for label, other in first.items() if label != pool.labels[index])
        for index in group  # each names one with another label
    }


def find(pool: Pool, without: LeftOut) -> Copies:
    """Count the groups of images with the same pixels, without images that were left out; return also some examples."""
    groups = [[index for index in group if index not in without] for group in pool.groups]
    repeated = [group for group in groups if len(group) > 1]
    examples = tuple(tuple(pool.names[index] for index in group[:SHOWN]) for group in repeated[:SHOWN])
    return Copies(len(repeated), sum(map(len, repeated)), examples)


@dataclass(frozen=True, eq=False)
class Looks:
    """Properties of n images that hardly change with size and compression.

    Attributes:
        bits: difference hashes, uint64 (n,).
        small: the images reduced to 9 x 8 pixels, int16 (n, 72 x channels), 0..255.
    """

    bits: NDArray[np.uint64]
    small: NDArray[np.int16]

    def __add__(self, other: Looks) -> Looks:
        """Return the looks of these images, followed by those of the other ones."""
        return Looks(np.concatenate([self.bits, other.bits]), np.concatenate([self.small, other.small]))


def looks(images: NDArray[np.uint8], indices: NDArray[np.int64]) -> Looks:
    """Return images reduced to 9 x 8 pixels, and for each pixel with a right neighbour whether that is lighter.

    Source of the difference hash: Neal Krawetz, "Kind of Like That", The Hacker Factor Blog, 2013.

    Args:
        images: uint8 (n, height, width, channels).
        indices: which of them, int64 (m,).
    """
    small = np.empty((len(indices), 8, 9, images.shape[-1]), np.int16)
    for row, index in enumerate(indices):
        image = Image.fromarray(images[index].squeeze(-1) if images.shape[-1] == 1 else images[index])
        small[row] = np.asarray(image.resize((9, 8), Image.Resampling.BILINEAR)).reshape(small.shape[1:])
    grey = small.sum(axis=-1)
    darker = grey[:, :, :-1] < grey[:, :, 1:]
    bits = np.packbits(darker.reshape(len(darker), 64), axis=1).view(np.uint64)[:, 0]
    return Looks(bits, small.reshape(len(small), 72 * images.shape[-1]))


def near(tests: Looks, others: Looks) -> list[tuple[int, int]]:
    """Return (test image, the other image most like it) for each test image that has a near copy, as indices.

    A test image is compared with all of `others` by the bits, and by the pixels with the first MOST_LIKE whose bits are
    alike.
    """
    pairs = []
    rows = max(1, _BLOCK_BYTES // (8 * max(1, len(others.bits))))
    for start in range(0, len(tests.bits), rows):
        alike = np.bitwise_count(tests.bits[start : start + rows, np.newaxis] ^ others.bits) <= NEAR_BITS
        for row in np.flatnonzero(alike.any(axis=1)):
            test, found = start + int(row), np.flatnonzero(alike[row])[:MOST_LIKE]
            differences = np.abs(others.small[found] - tests.small[test]).mean(axis=1)
            if differences.min() <= NEAR_PIXELS * max(1.0, _contrast(tests.small[test])):
                pairs.append((test, int(found[differences.argmin()])))
    return pairs


def _contrast(pixels: NDArray[np.int16]) -> float:
    """Return the mean distance of pixels from their mean."""
    return float(np.abs(pixels - pixels.mean()).mean())
