"""Read, write and verify manifest.json, the description of a prepared data set.

The manifest is written last, so a folder with a manifest is complete.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from windrow import files
from windrow.errors import DatasetError

FILE = "manifest.json"
_CURE = "run prepare_dataset.py into it"


@dataclass(frozen=True)
class Manifest:
    """The description of a prepared data set.

    Attributes:
        name: short name of the source.
        source: where the images came from: a built-in source's name, or the absolute path of a folder.
        digest: SHA-256 of the contents; the same images, labels and splits have the same digest.
        shape: (height, width, channels) of an image.
        labels: names of the classes; an image's label is an index into them.
        splits: number of images, by split.
        files: SHA-256 of each file, by its name.
        settings: the page's dataset section.
        fingerprint: state of a source folder (names, sizes, times) when it was read; "" for a built-in source.
        left_out: reason for each image that could not be decoded, by its name.
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
