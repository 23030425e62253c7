"""List the images of a folder with one subfolder per class, and limit the share of files that can't be used.

    photos/cat/1.jpg  photos/dog/2.png ...                      the page's dataset.test share becomes the test split
    photos/train/cat/1.jpg ...  photos/test/cat/9.jpg ...       the folder's own test split

A file is an image if its content begins as one, whatever its name is. Files that can't be used are left out and listed
in the manifest; more than one in twenty is an error. Text, such as notes and annotations, is named and does not count.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from windrow.data.image_files.content import READ
from windrow.data.image_files.listed import UNFINISHED, below, listed, visible
from windrow.data.splits import check_different, check_names, is_printable
from windrow.errors import DatasetError
from windrow.plural import counted
from windrow.stray import is_leftover

LEFT_OUT_LIMIT = 0.05
_SHOWN = 5
_MORE = r"(?:[ _-]*(?:set|data|images?|\d))?"  # as in Kaggle's training_set and test1
_TRAIN, _TEST, _VALIDATION = (
    re.compile(names + _MORE, re.IGNORECASE)
    for names in ("train(?:ing)?", "test(?:ing)?", "(?:validation|valid|val|dev)")
)


@dataclass(frozen=True)
class Files:
    """Image files below `root`, and the class of each, int64 (n,).

    `names` are the names for the user, such as the files' URLs; their paths if it is empty.
    """

    root: Path
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    names: tuple[str, ...] = ()

    def name(self, index: int) -> str:
        """Return a file's name, or its path relative to the root, as text on one line that any encoding can hold."""
        if self.names:
            return _printable(self.names[index])
        return _printable(str(self.paths[index].relative_to(self.root)))


@dataclass(frozen=True)
class Listing:
    """The images of a folder or a feed, not yet decoded.

    Attributes:
        classes: names of the classes, in Unicode's composed form (NFC).
        train: the images outside the folder's own test split.
        test: the images of the folder's own test split; None if it has none.
        left_out: reason for each file that may be meant as an image and is none that is read, by its name.
        notes: sentences for the user on what in the folder is not read.
        fingerprint: state of a feed and of what was downloaded from it; "" for a folder.
        refused: reason for each image that must not be trained on, by its name; these do not count as broken.
    """

    classes: tuple[str, ...]
    train: Files
    test: Files | None
    left_out: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fingerprint: str = ""
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Return the number of files that are images or may be meant as images."""
        return len(self.train.paths) + (len(self.test.paths) if self.test else 0) + len(self.left_out)


def list_images(folder: Path) -> Listing:
    """Return the classes of a folder and their image files; of each file the first bytes are read.

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
    splits = _splits(folder)
    found = _Found(folder)
    if splits is None:
        classes = _classes(folder)
        _check_depth(folder, list(classes.values()))
        check_names(tuple(classes))
        train = found.files(classes, list(classes))
        return Listing(tuple(classes), train, None, *found.told(list(classes.values())))
    classes, test_classes = (_classes(split) for split in splits)
    check_names(tuple(classes))
    if odd := sorted(set(test_classes) - set(classes)):
        raise DatasetError(
            f"{folder} must have each class of {splits[1].name}/ in {splits[0].name}/ too; got {', '.join(odd)} in "
            f"{splits[1].name}/ only; add training images or remove it"
        )
    train = found.files(classes, list(classes))
    test = found.files(test_classes, list(classes), needed=False)
    return Listing(tuple(classes), train, test, *found.told(splits))


def _check_depth(folder: Path, classes: Sequence[Path]) -> None:
    """Check that the only folder, if there is but one, does not hold the folders of the classes.

    Raises:
        DatasetError: it does, as an archive leaves them that has everything in one folder.
    """
    if len(classes) == 1 and (inside := _folders(classes[0])):
        names = ", ".join(sorted(path.name for path in inside)[:_SHOWN])
        raise DatasetError(
            f"{folder} must hold one folder of images a class; got only {classes[0].name}, which holds {names}; if "
            f"these are the classes, set dataset.source to {classes[0]}"
        )


def _splits(folder: Path) -> list[Path] | None:
    """Return the folders for training and test, in any case; None if the folders are classes.

    Raises:
        DatasetError: there are two folders for one of them, or nothing but folders for splits and none for test.
    """
    folders = _folders(folder)
    train, test, others = (
        [path for path in folders if names.fullmatch(path.name)] for names in (_TRAIN, _TEST, _VALIDATION)
    )
    for found in (train, test):
        if len(found) > 1 and train and test:
            names = " and ".join(sorted(path.name for path in found))
            raise DatasetError(f"{folder} must have one folder for a split; got {names}; move the images into one")
    if train and test:
        return [train[0], test[0]]
    if train and len(folders) > 1 and len(train) + len(others) == len(folders):
        got = ", ".join(sorted(path.name for path in folders))
        raise DatasetError(
            f"{folder} must have a folder test next to {train[0].name}, or a folder a class; got {got}; rename "
            f"{others[0].name if others else train[1].name} to test, or move the classes of {train[0].name} up"
        )
    return None


def paths_read(folder: Path) -> list[Path]:
    """Return the class folders and the files below them, sorted, also those of a folder that list_images refuses.

    A class folder may be a link.

    Raises:
        OSError: a folder can't be listed.
    """
    try:
        homes = _splits(folder) or [folder]
    except DatasetError:
        homes = [folder]
    places = [place for home in homes for place in _folders(home)]
    return sorted([*places, *(file for place in places for file in below(place))])


@dataclass
class _Found:
    """Collects the files of class folders that are not used.

    Attributes:
        root: the folder that names are relative to.
        left_out: as in Listing.
        texts: names of files that are text.
        unfinished: names of unfinished downloads.
    """

    root: Path
    left_out: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    def files(self, folders: dict[str, Path], classes: Sequence[str], needed: bool = True) -> Files:
        """List the images of each class; raise a DatasetError for a class without images if `needed` is true."""
        paths: list[Path] = []
        counts = []
        for name in classes:
            rows = listed(folders[name]) if name in folders else []
            images = [row.path for row in rows if row.problem is None]
            others = {self._name(row.path): row.problem or "" for row in rows if row.problem is not None and row.lost}
            if needed and not images:
                raise DatasetError(
                    f"{folders[name]} must hold images ({READ}); got none{_first(others)}; add some or remove it"
                )
            self.left_out |= others
            rest = [row for row in rows if row.problem is not None and not row.lost]
            self.unfinished += [self._name(row.path) for row in rest if row.problem == UNFINISHED]
            self.texts += [self._name(row.path) for row in rest if row.problem != UNFINISHED]
            paths += images
            counts.append(len(images))
        return Files(self.root, tuple(paths), np.repeat(np.arange(len(classes), dtype=np.int64), counts))

    def told(self, used: Sequence[Path]) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the files that are left out, and sentences on what else is not read."""
        notes = []
        if unused := sorted(_printable(path.name) for path in _unused(self.root, used)):
            drawn = "; validation images are drawn from training (dataset.validation), so move them there"
            is_split = any(map(_VALIDATION.fullmatch, unused))
            notes.append(f"not read in {_printable(self.root.name)}: {_some(unused)}{drawn if is_split else ''}")
        if self.texts:
            files = counted(len(self.texts), "file of text", "files of text")
            notes.append(f"{files} in folders of classes, not read: {_some(self.texts)}")
        if self.unfinished:
            downloads = counted(len(self.unfinished), "unfinished download")
            notes.append(f"{downloads} in folders of classes, not read: {_some(self.unfinished)}")
        return self.left_out, tuple(notes)

    def _name(self, path: Path) -> str:
        return _printable(str(path.relative_to(self.root)))


def _unused(folder: Path, used: Sequence[Path]) -> list[Path]:
    """Return the folders and images next to the folders that are used, such as val/ next to train/, and cat.bak/."""
    others = [path for path in visible(folder) if path not in used]
    images = {row.path for row in listed(folder, nested=False) if row.lost}
    leftovers = [path for path in folder.iterdir() if is_leftover(path.name) and path.is_dir()]
    return leftovers + [path for path in others if path.is_dir() or path in images]


def _first(others: dict[str, str]) -> str:
    return "".join(f", e.g. {name} ({reason})" for name, reason in list(others.items())[:1])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _printable(text: str) -> str:
    return "".join(each if is_printable(each) else ascii(each)[1:-1] for each in text)


def check_left_out(total: int, left_out: dict[str, str], use: str = "decoded") -> str:
    """Return and print a sentence on the files that can't be used as images, if there are any; else return "".

    Args:
        total: number of files that are images or may be meant as images.
        left_out: reason for each of them that can't be used, by its name.
        use: what can't be done with them.

    Raises:
        DatasetError: the share of files that can't be used is above LEFT_OUT_LIMIT.
    """
    if not left_out:
        return ""
    listed = "; ".join(f"{name} ({reason})" for name, reason in list(left_out.items())[:_SHOWN])
    more = f"; and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
    if len(left_out) > LEFT_OUT_LIMIT * total:
        raise DatasetError(
            f"at most {LEFT_OUT_LIMIT:.0%} of the images may be broken; got {len(left_out)} of {total}: "
            f"{listed}{more}; fix or remove them"
        )
    sentence = f"left out {len(left_out)} of {counted(total, 'image')} that can't be {use}: {listed}{more}"
    print(sentence, file=sys.stderr)
    return sentence


def _classes(folder: Path) -> dict[str, Path]:
    """Return the folders of the classes by name, in the order of the classes.

    Names are in Unicode's composed form: macOS writes an accent as a character of its own, other systems don't.
    """
    folders = _folders(folder)
    names = tuple(path.name for path in folders)
    if not names:
        raise DatasetError(
            f"{folder} must hold four IDX files or one folder of images a class; got neither; see the README"
        )
    if odd := [name for name in names if not is_printable(name)]:
        raise DatasetError(f"names of class folders must be printable UTF-8; got {odd[0]!r} in {folder}; rename it")
    check_different(names)
    found = {unicodedata.normalize("NFC", path.name): path for path in folders}
    return {name: found[name] for name in in_order(found)}


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of classes in the order of their indices: 2 before 10, so that 0, 1, 2... keep their numbers."""
    return sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in visible(folder) if path.is_dir())
