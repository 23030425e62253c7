"""Load labelled images from a source: scikit-learn's digits, MNIST, Fashion-MNIST, or a folder of the user's.

    source = load(page.dataset, downloads=paths.home() / "downloads")

A folder holds either the four IDX files of MNIST (gzipped or not; labels.txt may name the classes, one per line), or
one folder of images per class, at its top or inside train/ and test/. For a folder that is called mnist, write ./mnist.
"""

from __future__ import annotations

import difflib
import hashlib
import stat
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from windrow import paths, spark, text_files
from windrow.data import folder, idx
from windrow.data.decode import choose_format, decode
from windrow.data.folder import Listing
from windrow.data.published import FASHION_MNIST, MNIST, Published, fetch_all, has_files_of_one
from windrow.errors import DatasetError, ServiceError
from windrow.experiment import DatasetSection

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LABEL_NAMES = "labels.txt"
_CHANGED = "the folder changed while it was read, so the next run reads it again"

OpenSpark = Callable[[], AbstractContextManager["SparkSession"]]


@dataclass(frozen=True, eq=False)
class Source:
    """Labelled images as loaded, not yet split.

    Attributes:
        name: short name, for the user.
        train_images: uint8 (n, height, width, channels), 0..255; may be mapped from a file.
        train_labels: int64 (n,), indices into `labels`.
        test_images: like `train_images`, for the source's own test split; None if the source has no such split.
        test_labels: like `train_labels`, for the source's own test split; None if the source has no such split.
        labels: names of the classes.
        left_out: reason for each image that could not be decoded, by its name.
        fingerprint: state of the source folder or feed when it was read; "" for a built-in source.
        own: whether the source is a folder or feed of the user's, which may grow and shrink. False for a folder with
            the files of a built-in source, which gets that source's splits.
        train_names: names of the training images' files; empty if they are not files.
        test_names: like `train_names`, for the source's own test split.
        notes: sentences for the user on how the source was read.
        train_cropped: like `train_images`, the same images cropped; None unless dataset.fit is both.
        test_cropped: like `train_cropped`, for the source's own test split.
    """

    name: str
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8] | None
    test_labels: NDArray[np.int64] | None
    labels: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    own: bool = False
    train_names: tuple[str, ...] = ()
    test_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    train_cropped: NDArray[np.uint8] | None = None
    test_cropped: NDArray[np.uint8] | None = None


def load(
    section: DatasetSection, downloads: Path, open_spark: OpenSpark | None = None, listing: Listing | None = None
) -> Source:
    """Load the source that a page names.

    Args:
        section: the page's dataset section.
        downloads: folder for downloads and scratch files.
        open_spark: opens the Spark session that decodes images; None: spark.open_session.
        listing: what was downloaded, where the source is a feed.

    Raises:
        DatasetError: the source is unknown, missing, or not valid.
        DownloadError: no mirror served a file.
        ServiceError: the disk is full, Spark can't be used for a folder of images, or the folder changed meanwhile in
            such a way that what was read can't be used.
    """
    if section.source in SOURCES:
        return SOURCES[section.source](section, downloads)
    open_spark = open_spark or (lambda: spark.open_session("prepare data set"))
    if listing is not None:
        return _decoded(listing, Path(section.source).name, section, downloads, open_spark)
    path = _existing_folder(section.source)
    if idx.files(path):
        return _idx_folder(path, fingerprint(section))
    return _image_folder(path, section, downloads, open_spark)


def origin(section: DatasetSection) -> str:
    """Return where images come from: a built-in source's name, or the absolute path of a folder or of a feed's glob."""
    if section.label is not None:
        return str(paths.home() / Path(section.source).expanduser())
    return section.source if section.source in SOURCES else str(_folder(section.source))


def check_there(section: DatasetSection) -> None:
    """Check that a page's folder of images exists.

    Raises:
        DatasetError: it does not.
    """
    if section.source not in SOURCES and section.label is None:
        _existing_folder(section.source)


def fingerprint(section: DatasetSection, listing: Listing | None = None) -> str:
    """Return a digest of the names, sizes and times of a source folder's files, or that of a feed's listing.

    Only files that are read count, and the names of class folders. The digest shows whether the source has changed
    since the data set was prepared. A built-in source never changes: "".

    Raises:
        DatasetError: the folder does not exist.
    """
    if listing is not None or section.source in SOURCES:
        return listing.fingerprint if listing else ""
    digest = hashlib.sha256()
    path = _existing_folder(section.source)
    for file in _read_from(path):
        try:
            status = file.stat()
        except OSError:  # the file has disappeared meanwhile
            continue
        # Anything written into a class folder changes the folder's time, so only its name counts.
        state = () if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_mtime_ns)
        digest.update(repr((str(file.relative_to(path)), *state)).encode("utf-8", "replace"))
    return digest.hexdigest()


def _read_from(path: Path) -> list[Path]:
    """Return the IDX files and the file of their classes' names, or the class folders with their images."""
    try:
        found = idx.files(path)
        return [*found, path / _LABEL_NAMES] if found else folder.paths_read(path)
    except OSError:  # loading the source says what can't be listed
        return []


def _digits(section: DatasetSection, downloads: Path) -> Source:
    from sklearn.datasets import load_digits  # takes a second, so only if needed

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    return Source("digits", images, bunch.target.astype(np.int64), None, None, tuple("0123456789"))


def _published(section: DatasetSection, downloads: Path, home: Published) -> Source:
    files = fetch_all(home, section.mirrors, downloads / section.source)
    return _from_idx(section.source, files, dict(enumerate(home.labels)))


SOURCES: dict[str, Callable[[DatasetSection, Path], Source]] = {
    "digits": _digits,
    "mnist": partial(_published, home=MNIST),
    "fashion_mnist": partial(_published, home=FASHION_MNIST),
}
"""The built-in sources: name → function that loads the source, from the dataset section and the folder of downloads.

experiment.sections.BUILT_IN_SOURCES repeats the names, because that module must not import NumPy.
"""


def _folder(source: str) -> Path:
    return Path(source).expanduser().resolve()


def _existing_folder(source: str) -> Path:
    path = _folder(source)
    if not path.is_dir():
        close = difflib.get_close_matches(source, SOURCES, n=1)
        cure = (
            f"did you mean {close[0]}?"
            if close
            else f"no such folder: {path}; put one folder of images per class there, or name another"
        )
        raise DatasetError(f"dataset.source must be {', '.join(SOURCES)} or a folder; got {source!r}; {cure}")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"the path of dataset.source must be UTF-8; got {str(path)!a}; rename its folders"
        ) from error
    return path


def _idx_folder(path: Path, state: str) -> Source:
    chosen = idx.chosen(path)
    source = _from_idx(path.name, chosen, _label_names(path))
    return replace(source, fingerprint=state, own=not has_files_of_one(chosen))


def _label_names(path: Path) -> dict[int, str]:
    """Return label value → name: the lines of labels.txt, counted from 0; empty without this file."""
    try:
        lines = text_files.lines(text_files.read(path / _LABEL_NAMES))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DatasetError(
            f"{path / _LABEL_NAMES} must be readable; got {error.strerror}; look at its rights"
        ) from error
    return {number: unicodedata.normalize("NFC", line.strip()) for number, line in enumerate(lines)}


def _from_idx(name: str, files: Sequence[Path], names: Mapping[int, str]) -> Source:
    """Return a source from four IDX files: training images and labels, test images and labels.

    Label values may begin anywhere and have gaps: the source has indices into its class names in their place.
    """
    train_images, train_labels = idx.read_pair(files[0], files[1])
    test_images, test_labels = idx.read_pair(files[2], files[3])
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DatasetError(
            f"{files[0].name} and {files[2].name} must hold images of one size; "
            f"got {_size(train_images)} and {_size(test_images)}; take both from the same data set"
        )
    values = np.unique(train_labels)
    if strange := sorted(set(test_labels.tolist()) - set(values.tolist())):
        raise DatasetError(
            f"{files[3].name} must hold labels that {files[1].name} has; got {strange} besides; "
            "take both from the same data set"
        )
    return Source(
        name,
        train_images,
        np.searchsorted(values, train_labels).astype(np.int64),
        test_images,
        np.searchsorted(values, test_labels).astype(np.int64),
        tuple(names.get(value, str(value)) for value in values.tolist()),
    )


def _size(images: NDArray[np.uint8]) -> str:
    return " x ".join(map(str, images.shape[1:]))


def _image_folder(path: Path, section: DatasetSection, downloads: Path, open_spark: OpenSpark) -> Source:
    state = fingerprint(section)
    try:
        return _read_images(path, section, downloads, open_spark, state)
    except DatasetError as error:
        if path.is_dir() and fingerprint(section) == state:
            raise
        raise ServiceError(
            f"{path} must stay as it is while it is read; it has changed, and what was read can't be used: {error}; "
            "run again when nothing writes to it"
        ) from error


def _read_images(path: Path, section: DatasetSection, downloads: Path, open_spark: OpenSpark, state: str) -> Source:
    source = _decoded(folder.list_images(path), path.name, section, downloads, open_spark)
    notes = (*source.notes, *([_CHANGED] if fingerprint(section) != state else []))
    return replace(source, fingerprint=state, notes=notes)


def _decoded(listing: Listing, name: str, section: DatasetSection, downloads: Path, open_spark: OpenSpark) -> Source:
    """Decode what is listed; return it as a source of that name."""
    target = choose_format(listing.train, section)
    with open_spark() as session:
        train = decode(listing.train, target, downloads, session)
        test = decode(listing.test, target, downloads, session) if listing.test else None
    left_out = {**listing.left_out, **train.left_out, **(test.left_out if test else {})}
    use = "used" if listing.fingerprint else "decoded"
    return Source(
        name,
        train.images,
        train.labels,
        test.images if test else None,
        test.labels if test else None,
        listing.classes,
        {**left_out, **listing.refused},
        listing.fingerprint,
        own=True,
        train_names=train.names,
        test_names=test.names if test else (),
        notes=tuple(filter(None, [*listing.notes, folder.check_left_out(listing.total, left_out, use)])),
        train_cropped=train.cropped,
        test_cropped=test.cropped if test else None,
    )
