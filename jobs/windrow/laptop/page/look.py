"""Look at a folder of images for what a page needs to know: classes, sizes, colours.

found = look(Path("/data/shoes"))
found.images, found.classes, found.side, found.channels    # 600, {"boot": 200, ...}, 64, 3
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from windrow.data.decode import MAX_PIXELS
from windrow.data.folder import list_images
from windrow.data.image_files.faults import ImageFileError
from windrow.data.image_files.opening import opened
from windrow.errors import DatasetError

SIDES = (16, 32, 48, 64, 96)
"""The image sizes, in pixels, that a small network is trained with in minutes."""

_OPENED = 200  # at most so many images are opened, evenly spread over the folder
_LOOKED_AT = 20  # of so many at least the pixels are looked at
_PIXELS = 200_000_000  # and of more as long as these have no more pixels; 12 million take 0.1 s as JPEG, 0.6 s as PNG
_PHOTOGRAPH = 32  # pixels of a side, as in CIFAR-10; smaller images are mostly drawings and characters
_LARGE = 96  # pixels of a side; a backbone takes images of 224, and enlarged ones show it little
_FEW = 5_000  # images; docs/transfer.md has measurements with up to 2,100
_SMALL = 32  # pixels of a side, enough to see whether an image is grey
_BROKEN = (ImageFileError, OSError, SyntaxError, ValueError)  # what broken files raise
_GREY = 6  # largest difference between red, green and blue of a grey image: JPEG rounds


@dataclass(frozen=True)
class FolderFacts:
    """The content of a folder of images.

    Attributes:
        folder: the folder, absolute.
        classes: number of images by class, in the order of the classes; without the folder's own test split.
        own_test: whether the folder has a test split of its own.
        width, height: median size of the images that could be opened, pixels.
        side: the image size to train with, pixels.
        channels: 1 if all images are grey whose pixels were looked at, else 3.
        broken: number of images of the sample that can't be opened.
        opened: number of images in the sample, the broken ones included.
    """

    folder: Path
    classes: dict[str, int]
    own_test: bool
    width: int
    height: int
    side: int
    channels: int
    broken: int
    opened: int

    @property
    def images(self) -> int:
        """Return the number of images."""
        return sum(self.classes.values())

    @property
    def are_photographs(self) -> bool:
        """Return whether the images look like photographs: in colour, and not tiny."""
        return self.channels == 3 and self.side >= _PHOTOGRAPH

    @property
    def are_few_photographs(self) -> bool:
        """Return whether the images are photographs of at least 96 pixels a side, and at most 5,000."""
        return self.channels == 3 and min(self.width, self.height) >= _LARGE and self.images <= _FEW

    @property
    def guessing(self) -> float:
        """Return the share of the most frequent class, which is the accuracy of guessing."""
        return max(self.classes.values()) / self.images


def look(folder: Path) -> FolderFacts:
    """Count a folder's images by class, open a sample of them, and return what was found.

    Raises:
        DatasetError: as for list_images, or no such folder, or no image that can be opened.
    """
    whole = folder.expanduser().resolve()
    if not whole.is_dir():
        raise DatasetError(f"FOLDER must be a folder with one folder of images per class; got {folder}; there is none")
    listing = list_images(whole)
    paths, counts = listing.train.paths, Counter(listing.train.labels.tolist())
    sample = _spread(paths, _OPENED)
    sizes = _sizes(sample)
    if not sizes:
        raise DatasetError(f"{whole} must hold images that can be opened; got none; convert them to PNG or JPEG")
    width, height = (int(median(size[axis] for size in sizes.values())) for axis in (0, 1))
    looked_at = _spread(list(sizes), max(_LOOKED_AT, _PIXELS // (width * height)))
    return FolderFacts(
        folder=whole,
        classes={name: counts[index] for index, name in enumerate(listing.classes)},
        own_test=listing.test is not None,
        width=width,
        height=height,
        side=choose_side(list(sizes.values())),
        channels=1 if all(map(_is_grey, looked_at)) else 3,
        broken=len(sample) - len(sizes),
        opened=len(sample),
    )


def choose_side(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the image size to train with, in pixels.

    If all images are square, of one size and small, it is their size; else the largest of SIDES that the median of
    their shorter sides reaches, or the smallest of SIDES.

    Args:
        sizes: (width, height) of images, pixels.
    """
    width, height = sizes[0]
    if set(sizes) == {(width, height)} and width == height and 4 <= width <= SIDES[-1]:
        return width
    shorter = median(min(size) for size in sizes)
    return max((side for side in SIDES if side <= shorter), default=SIDES[0])


def _spread(paths: Sequence[Path], most: int) -> list[Path]:
    """Return up to `most` of the paths, evenly spread."""
    count = min(most, len(paths))
    return [paths[number * len(paths) // count] for number in range(count)]


def _sizes(paths: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return (width, height) of the images that can be opened, without decoding them."""
    sizes = {}
    for path in paths:
        try:
            with opened(path.read_bytes(), MAX_PIXELS) as image:
                sizes[path] = image.size
        except _BROKEN:
            continue
    return sizes


def _is_grey(path: Path) -> bool:
    """Return whether an image is grey; True if its pixels can't be decoded, so that it does not count."""
    try:
        with opened(path.read_bytes(), MAX_PIXELS) as image:
            if image.mode in ("1", "L", "LA") or image.mode.startswith("I"):
                return True
            image.draft("RGB", (_SMALL, _SMALL))
            pixels = np.asarray(image.convert("RGB").resize((_SMALL, _SMALL)), np.int16)
    except _BROKEN:
        return True
    return bool(np.ptp(pixels, axis=2).max() <= _GREY)
