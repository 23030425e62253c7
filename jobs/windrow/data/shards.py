"""Store a data set as NumPy files that every Python worker of a host maps into memory.

A folder has two files per split, and a manifest:

train-images.npy   uint8 (n, height, width, channels), 0..255
train-labels.npy   int64 (n,), indices into the manifest's labels
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.data import manifest as manifests
from windrow.data import sources, splits
from windrow.data.manifest import Manifest
from windrow.data.sources import Source
from windrow.data.splits import SPLITS, Split
from windrow.errors import DatasetError
from windrow.experiment import DatasetSection
from windrow.files import clear_when_full

_ASIDE_PREFIX = ".aside-"
_CHUNK_BYTES = 1 << 25


def existing(out: Path, section: DatasetSection) -> Manifest | None:
    """Verify the data set in `out`; return its manifest if the data set is whole and as `section` asks for.

    Return None if the data set is absent or damaged, or was made with other settings or from another source.

    Raises:
        DatasetError: the source folder is gone.
    """
    if not (out / manifests.FILE).exists():
        return None
    wanted = (_identity(section.model_dump(mode="json")), sources.origin(section), sources.fingerprint(section))
    try:
        manifest = manifests.read(out)
        manifests.verify(out, manifest)
    except DatasetError as error:
        print(f"what is there can't be used: {error}", file=sys.stderr)
        return None
    found = (_identity(manifest.settings), manifest.source, manifest.fingerprint)
    return manifest if found == wanted else None


def write(out: Path, source: Source, section: DatasetSection) -> Manifest:
    """Split a source, write the splits to `out` in place of what was there, and return their manifest.

    The caller holds the lock of `out` (files.locked).

    Raises:
        DatasetError: the source can't be split as the page asks.
        ServiceError: the disk is full; `out` then holds no manifest.
    """
    own_test = source.test_images is not None
    splits.check_classes(source.train_labels, source.labels, 2 if own_test else 3)
    parts = splits.draw(source.train_labels, section.validation, None if own_test else section.test, section.seed)
    with clear_when_full(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / manifests.FILE).unlink(missing_ok=True)
        with _aside(out) as aside:
            files, contents = {}, {}
            for split in SPLITS:
                images, labels, indices = _pick(source, parts, split)
                files[_images(split)], images_digest = _write_array(aside / _images(split), images, indices)
                files[_labels(split)], labels_digest = _write_array(aside / _labels(split), labels, indices)
                contents[split] = (len(indices), images_digest, labels_digest)
            for name in files:
                (aside / name).replace(out / name)
        manifest = _manifest(source, section, files, contents)
        manifests.write(out, manifest)
    return manifest


def load_split(folder: Path | str, split: Split) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return a split's images, uint8 (n, h, w, c), mapped read-only, and its labels, int64 (n,).

    The folder needs only the two files of the split.

    Raises:
        DatasetError: one of the files is missing or broken.
    """
    images_path, labels_path = split_files(folder, split)
    images, labels = _open_array(images_path, "r"), _open_array(labels_path, None)
    if len(images) != len(labels):
        raise DatasetError(
            f"{images_path} must hold an image a label; got {len(images)}, {len(labels)}; run prepare_dataset.py again"
        )
    return images, labels


def split_files(folder: Path | str, *names: Split) -> list[Path]:
    """Return the paths of the named splits' files, images before labels, to be sent to executors."""
    return [Path(folder) / file for name in names for file in (_images(name), _labels(name))]


def _images(split: Split) -> str:
    return f"{split}-images.npy"


def _labels(split: Split) -> str:
    return f"{split}-labels.npy"


def _identity(settings: dict[str, object]) -> dict[str, object]:
    """Return the settings that the contents depend on, without the source, which is compared by itself.

    The contents do not depend on the mirrors, because the files from them are checked by digest.
    """
    return {key: value for key, value in settings.items() if key not in ("source", "mirrors")}


def _pick(source: Source, parts: dict[Split, splits.Indices], split: Split) -> tuple[Any, Any, splits.Indices]:
    if split == "test" and source.test_images is not None and source.test_labels is not None:
        return source.test_images, source.test_labels, np.arange(len(source.test_labels), dtype=np.int64)
    return source.train_images, source.train_labels, parts[split]


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """Yield a folder inside `out` to write files in before they are moved; remove the folder after the block.

    Folders of this kind that killed processes left behind are removed first. files.replacing would not do: the six
    files must move together, once all of them are written.
    """
    for stale in out.glob(f"{_ASIDE_PREFIX}*"):
        shutil.rmtree(stale, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE_PREFIX, dir=out))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_array(path: Path, array: NDArray[Any], indices: splits.Indices) -> tuple[str, str]:
    """Write array[indices] as .npy, in chunks; return the SHA-256 of the file and that of the values alone.

    np.save is not used, because its error on a full disk carries no errno.
    """
    header = io.BytesIO()
    description = {"descr": array.dtype.str, "fortran_order": False, "shape": (len(indices), *array.shape[1:])}
    np.lib.format.write_array_header_1_0(header, description)
    file_hash, values_hash = hashlib.sha256(header.getvalue()), hashlib.sha256()
    rows = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
    with path.open("wb") as file:
        file.write(header.getvalue())
        for start in range(0, len(indices), rows):
            values = np.ascontiguousarray(array[indices[start : start + rows]]).tobytes()
            file.write(values)
            file_hash.update(values)
            values_hash.update(values)
        file.flush()
        os.fsync(file.fileno())
    return file_hash.hexdigest(), values_hash.hexdigest()


def _manifest(
    source: Source, section: DatasetSection, files: dict[str, str], contents: dict[Split, tuple[int, str, str]]
) -> Manifest:
    height, width, channels = source.train_images.shape[1:]
    identity = repr(((height, width, channels), source.labels, sorted(contents.items())))
    return Manifest(
        name=source.name,
        source=sources.origin(section),
        digest=hashlib.sha256(identity.encode()).hexdigest(),
        shape=(height, width, channels),
        labels=source.labels,
        splits={split: count for split, (count, _, _) in contents.items()},
        files=files,
        settings=section.model_dump(mode="json"),
        fingerprint=source.fingerprint,
        left_out=source.left_out,
    )


def _open_array(path: Path, mode: Any) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DatasetError(f"{path} must be a prepared split; got {reason}; run prepare_dataset.py again") from error
    return array
