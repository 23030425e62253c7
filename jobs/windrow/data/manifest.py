"""Read, write and verify manifest.json, the description of a prepared data set.

The manifest is written last, so a folder with a manifest is complete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten

from pydantic import ConfigDict, TypeAdapter, ValidationError

from windrow import files
from windrow.data.splits import SPLITS, STORED, Split, StoredFit
from windrow.errors import DatasetError
from windrow.experiment.values import Fit
from windrow.markdown import escaped
from windrow.plural import counted

FILE = "manifest.json"
_CURE = "run prepare_dataset.py into it"
_SHOWN = 5  # near copies in a warning
_SHORT = 300  # characters of a warning on a page or in a note


@dataclass(frozen=True)
class Copies:
    """Images with the same pixels.

    Attributes:
        groups: number of groups of two or more.
        images: number of images in these groups.
        examples: names of the images of some groups.
    """

    groups: int = 0
    images: int = 0
    examples: tuple[tuple[str, ...], ...] = ()

    def __str__(self) -> str:
        """Return a sentence with the number of images and some names; empty without copies."""
        groups = "; ".join(" = ".join(names) for names in self.examples)
        return f"{self.images:,} images have the same pixels as another one, e.g. {groups}" if self.groups else ""


@dataclass(frozen=True)
class NearCopies:
    """Test images that look nearly like an image of training or validation.

    Attributes:
        images: number of these test images; None if there were too many images to look for them.
        examples: names of some of these test images, each with the name of the image that it looks like.
    """

    images: int | None = 0
    examples: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """Return a warning with their number and some pairs; empty without near copies."""
        if not self.images:
            return ""
        look = counted(self.images, "test image looks", "test images look")
        pairs = "; ".join(" ~ ".join(names) for names in self.examples[:_SHOWN])
        return (
            f"{look} nearly like an image of training or validation, so the test accuracy may be too high; "
            f"remove one of each, e.g. {pairs}"
        )


@dataclass(frozen=True)
class Manifest:
    """The description of a prepared data set.

    Attributes:
        name: short name of the source.
        source: where the images came from: a built-in source's name, or the absolute path of a folder or feed.
        digest: SHA-256 of the contents; the same images, labels and splits have the same digest.
        shape: (height, width, channels) of an image.
        labels: names of the classes; an image's label is an index into them.
        splits: number of images, by split.
        files: SHA-256 of each file, by its name.
        settings: the page's dataset section.
        fingerprint: state of a source folder (names, sizes, times) or feed when it was read; "" if it is built in.
        left_out: reason for each image that could not be used, by its name.
        class_counts: number of images, by split and name of the class; empty in manifests before 2026-11-27.
        copies: images with the same pixels.
        near_copies: test images that look nearly like an image of training or validation.
        warnings: sentences on what makes the data set's figures less certain.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    source: str
    digest: str
    shape: tuple[int, int, int]
    labels: tuple[str, ...]
    splits: dict[str, int]
    files: dict[str, str]
    settings: dict[str, object]
    fingerprint: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    class_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    copies: Copies = field(default_factory=Copies)
    near_copies: NearCopies = field(default_factory=NearCopies)
    warnings: tuple[str, ...] = ()

    @property
    def stored(self) -> tuple[StoredFit, ...]:
        """Return the names under which the images are stored: one, or two where dataset.fit was both."""
        return STORED if self.settings.get("fit") == "both" else STORED[:1]

    def fit_of(self, stored: StoredFit) -> Fit:
        """Return how the images that are stored under a name became squares."""
        return "crop" if "crop" in (stored, self.settings.get("fit")) else "squash"

    def lines(self) -> list[str]:
        """Return lines on the numbers of images by split and class, and on copies; none without class counts."""
        if not self.class_counts:
            return []
        classes = in_splits(self.class_counts, self.labels, most=20)
        lines = [", ".join(f"{self.splits[split]:,} {split}" for split in SPLITS) + f" images: {classes}"]
        if self.copies.groups:
            lines.append(str(self.copies))
        if self.near_copies.images is None:
            lines.append("near copies were not looked for, because there are too many images")
        return lines

    @property
    def short_warnings(self) -> list[str]:
        """Return the warnings on one line each, of at most 300 characters, for pages and notes."""
        return [shorten(warning, _SHORT, placeholder=" ...") for warning in self.warnings]

    def warnings_text(self) -> str:
        """Return the short warnings as a Markdown list with a heading; empty without warnings."""
        listed = "\n".join(f"- {escaped(warning)}" for warning in self.short_warnings)
        return f"What makes figures on this data set less certain:\n\n{listed}" if listed else ""

    def guessing(self, split: Split) -> float | None:
        """Return the share of the most frequent class in a split, 0..1; None without class counts."""
        counts = self.class_counts.get(split)
        return max(counts.values()) / sum(counts.values()) if counts else None


def in_splits(counts: Mapping[str, Mapping[str, int]], names: Sequence[str], most: int) -> str:
    """Return classes with their number of images in each split: "cat 70/12/18, dog 65/9/20 (train/validation/test)".

    Args:
        counts: number of images by split and class.
        names: the classes.
        most: how many of them to list.
    """
    shown = [f"{name} {'/'.join(f'{counts[split][name]:,}' for split in SPLITS)}" for name in names[:most]]
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(shown)}{more} ({'/'.join(SPLITS)})"


def labels_before(folders: Iterable[Path], source: str) -> tuple[str, ...] | None:
    """Return the classes of the newest data set of a source among those in `folders`; None if there is none."""
    found = [path for folder in folders if (path := folder / FILE).is_file()]
    for path in sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            manifest = read(path.parent)
        except DatasetError:
            continue
        if manifest.source == source:
            return manifest.labels
    return None


def read(folder: Path) -> Manifest:
    """Read the manifest of a prepared data set.

    Raises:
        DatasetError: the file is absent or broken, or another version of Windrow wrote it.
    """
    path = folder / FILE
    try:
        return TypeAdapter(Manifest).validate_json(path.read_bytes())
    except OSError as error:
        raise DatasetError(
            f"{folder} must hold a prepared data set; got no {FILE} ({error.strerror}); {_CURE}"
        ) from error
    except ValidationError as error:
        mistake = error.errors()[0]
        place = ".".join(map(str, mistake["loc"]))
        raise DatasetError(
            f"{path} must be a manifest of this version; got {place}: {mistake['msg']}; {_CURE}"
        ) from error


def write(folder: Path, manifest: Manifest) -> None:
    """Write a manifest atomically: a reader sees the whole file or none."""
    files.write_json(folder / FILE, asdict(manifest))


def verify(folder: Path, manifest: Manifest) -> None:
    """Check every file against its SHA-256 in the manifest.

    Raises:
        DatasetError: a file is missing, or differs from what was written.
    """
    for name, expected in manifest.files.items():
        verify_file(folder / name, expected)


def verify_file(path: Path, expected: str) -> None:
    """Check one file against `expected`, its SHA-256 in the manifest.

    Raises:
        DatasetError: the file is missing, or differs from what was written.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path} must be there; got {error.strerror}; {_CURE} again") from error
    if found != expected:
        raise DatasetError(f"{path} must be as prepared, SHA-256 {expected[:16]}; got {found[:16]}; {_CURE} again")
