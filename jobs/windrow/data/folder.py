"""List the images of a folder with one subfolder per class, and limit the share of broken images.

    photos/cat/1.jpg  photos/dog/2.png ...                      the page's dataset.test share becomes the test split
    photos/train/cat/1.jpg ...  photos/test/cat/9.jpg ...       the folder's own test split

Images that can't be decoded are left out and listed in the manifest; more than one in twenty is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from windrow.data.splits import check_names
from windrow.errors import DatasetError
from windrow.plural import counted

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
LEFT_OUT_LIMIT = 0.05
_SHOWN = 5


@dataclass(frozen=True)
class Files:
    """Image files below `root`, and the class of each, int64 (n,)."""

    root: Path
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]

    def name(self, index: int) -> str:
        """Return a file's path relative to the root, as text on one line that any encoding can hold."""
        return _printable(str(self.paths[index].relative_to(self.root)))


@dataclass(frozen=True)
class Listing:
    """The images of a folder, not yet opened. `test` is None if the folder has no test split of its own."""

    classes: tuple[str, ...]
    train: Files
    test: Files | None


def list_images(folder: Path) -> Listing:
    """Return the classes of a folder and their image files, without opening the files.

    A class of train/ may have no image in test/.

    Raises:
        DatasetError: fewer than two classes, two classes whose names look the same, a class without images, a class
            name with characters that can't be printed, a class in test/ only, or a folder that can't be listed.
    """
    try:
        return _listing(folder)
    except OSError as error:
        raise DatasetError(
            f"{folder} must be readable; got {error.strerror} for {error.filename}; look at its owner and its rights"
        ) from error


def _listing(folder: Path) -> Listing:
    splits = [folder / "train", folder / "test"]
    if not all(split.is_dir() for split in splits):
        classes = _classes(folder)
        check_names(tuple(classes))
        _report_unused(folder, classes)
        return Listing(tuple(classes), _files(folder, folder, classes), None)
    classes, test_classes = (_classes(split) for split in splits)
    check_names(tuple(classes))
    _report_unused(folder, [split.name for split in splits])
    if odd := sorted(set(test_classes) - set(classes)):
        raise DatasetError(
            f"{folder} must have each class of test/ in train/ too; got {', '.join(odd)} in test/ only; "
            "add training images or remove it"
        )
    train = _files(folder, splits[0], classes)
    return Listing(tuple(classes), train, _files(folder, splits[1], classes, needed=False))


def paths_read(folder: Path) -> list[Path]:
    """Return the class folders and image files that list_images reads, sorted, also those of a folder that it refuses.

    A class folder may be a link. Folders inside it are not entered, because they are not read.

    Raises:
        OSError: a folder can't be listed.
    """
    splits = [folder / "train", folder / "test"]
    homes = splits if all(split.is_dir() for split in splits) else [folder]
    places = [place for home in homes for place in _class_folders(home)]
    return sorted([*places, *(image for place in places for image in _images(_visible(place)))])


def _report_unused(folder: Path, used: Sequence[str]) -> None:
    """Print which visible folders and images next to the used folders are not read, such as val/ next to train/."""
    others = [path for path in folder.iterdir() if path.name not in used and not path.name.startswith((".", "__"))]
    found = sorted(_printable(path.name) for path in others if path.is_dir() or path.suffix.lower() in SUFFIXES)
    if found:
        more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        print(f"ignored in {folder}: {', '.join(found[:_SHOWN])}{more}", file=sys.stderr)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def check_left_out(total: int, left_out: dict[str, str]) -> None:
    """Print which images could not be decoded, if any, and why.

    Args:
        total: number of images in the folder.
        left_out: reason for each image that could not be decoded, by its name.

    Raises:
        DatasetError: the share of images that could not be decoded is above LEFT_OUT_LIMIT.
    """
    if not left_out:
        return
    listed = "; ".join(f"{name} ({reason})" for name, reason in list(left_out.items())[:_SHOWN])
    more = f"; and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
    if len(left_out) > LEFT_OUT_LIMIT * total:
        raise DatasetError(
            f"at most {LEFT_OUT_LIMIT:.0%} of the images may be broken; got {len(left_out)} of {total}: "
            f"{listed}{more}; fix or remove them"
        )
    images = counted(total, "image")
    print(f"left out {len(left_out)} of {images} that can't be decoded: {listed}{more}", file=sys.stderr)


def _classes(folder: Path) -> list[str]:
    names = [path.name for path in _class_folders(folder)]
    if not names:
        raise DatasetError(
            f"{folder} must hold four IDX files or one folder of images a class; got neither; see the README"
        )
    if odd := [name for name in names if not name.isprintable()]:
        raise DatasetError(f"names of class folders must be printable UTF-8; got {odd[0]!r} in {folder}; rename it")
    # Sort 2 before 10, so that classes 0, 1, 2... keep their numbers as indices.
    return sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def _class_folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _images(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file()]


def _files(root: Path, folder: Path, classes: Sequence[str], needed: bool = True) -> Files:
    """List the images of each class; raise a DatasetError for a class without images if `needed` is true."""
    paths: list[Path] = []
    counts = []
    for name in classes:
        visible = _visible(folder / name) if needed or (folder / name).is_dir() else []
        found = _images(visible)
        if needed and not found:
            raise DatasetError(
                f"{folder / name} must hold images ({', '.join(SUFFIXES)}); got none; add some or remove it"
            )
        if len(visible) > len(found):
            others = counted(len(visible) - len(found), "file that is not an image", "files that are not images")
            print(f"ignored in {folder / name}: {others}", file=sys.stderr)
        paths += found
        counts.append(len(found))
    return Files(root, tuple(paths), np.repeat(np.arange(len(classes), dtype=np.int64), counts))
