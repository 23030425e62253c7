"""Store a data set as NumPy files that every Python worker of a host maps into memory.

A folder has three files per split, and a manifest:

train-images.npy   uint8 (n, height, width, channels), 0..255
train-labels.npy   int64 (n,), indices into the manifest's labels
train-hashes.npy   uint8 (n, 16), a hash of each image's pixels (hashes.of)

train-images-crop.npy, train-hashes-crop.npy
                   where dataset.fit is both: the same images cropped, and their hashes; those above are squashed

names.json         for a folder of images: the names of the files, by split
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.data import hashes, sources
from windrow.data import manifest as manifests
from windrow.data.division import Division, divide
from windrow.data.folder import Listing
from windrow.data.hashes import Hashes
from windrow.data.manifest import Manifest
from windrow.data.sources import Source
from windrow.data.splits import SPLITS, Indices, Split, StoredFit
from windrow.errors import DatasetError
from windrow.experiment import DatasetSection
from windrow.files import clear_when_full

_NAMES = "names.json"
_ASIDE_PREFIX = ".aside-"
_CHUNK_BYTES = 1 << 25

Contents = tuple[int, str, str] | tuple[int, str, str, str]
"""Number of a split's images, and the SHA-256 of images, labels and, where dataset.fit is both, cropped images."""


def existing(out: Path, section: DatasetSection, listing: Listing | None = None) -> Manifest | None:
    """Verify the data set in `out`; return its manifest if the data set is whole and as `section` asks for.

    Return None if the data set is absent or damaged, or was made with other settings or from another source. `listing`
    is what was downloaded, where the source is a feed.

    Raises:
        DatasetError: the source folder is gone.
    """
    if not (out / manifests.FILE).exists():
        return None
    wanted = (
        _identity(section.model_dump(mode="json")),
        sources.origin(section),
        sources.fingerprint(section, listing),
    )
    try:
        manifest = manifests.read(out)
        manifests.verify(out, manifest)
    except DatasetError as error:
        print(f"what is there can't be used: {error}", file=sys.stderr)
        return None
    if not {_hashes(split) for split in SPLITS} <= manifest.files.keys():
        print(
            "what is there has no hashes of its images, as Windrow wrote it before 2026-11-27: it is prepared again",
            file=sys.stderr,
        )
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
    division = divide(source, section)
    with clear_when_full(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / manifests.FILE).unlink(missing_ok=True)
        with aside_of(out) as aside:
            files: dict[str, str] = {}
            contents: dict[Split, Contents] = {}
            for split, part in division.parts.items():
                files[_images(split)], images_digest = _write_array(aside / _images(split), part.images, part.indices)
                files[_labels(split)], labels_digest = _write_array(aside / _labels(split), part.labels, part.indices)
                files[_hashes(split)], _ = _write_array(aside / _hashes(split), part.hashes, part.indices)
                contents[split] = (len(part.indices), images_digest, labels_digest)
                if part.cropped is not None and part.cropped_hashes is not None:
                    crops, known = _images(split, "crop"), _hashes(split, "crop")
                    files[crops], cropped_digest = _write_array(aside / crops, part.cropped, part.indices)
                    files[known], _ = _write_array(aside / known, part.cropped_hashes, part.indices)
                    contents[split] = (*contents[split], cropped_digest)
            if source.train_names:
                files[_NAMES] = _write_names(aside / _NAMES, division)
            for stale in (_NAMES, *(name(split, "crop") for split in SPLITS for name in (_images, _hashes))):
                (out / stale).unlink(missing_ok=True)  # of an earlier source
            for name in files:
                (aside / name).replace(out / name)
        manifest = _manifest(source, section, division, files, contents)
        manifests.write(out, manifest)
    return manifest


def load_split(
    folder: Path | str, split: Split, fit: StoredFit = "main"
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return a split's images, uint8 (n, h, w, c), mapped read-only, and its labels, int64 (n,).

    The folder needs only the two files of the split. `fit` is a name from Manifest.stored.

    Raises:
        DatasetError: one of the files is missing or broken.
    """
    images_path, labels_path = split_files(folder, split, fit=fit)
    images, labels = open_array(images_path, "r"), open_array(labels_path, None)
    if len(images) != len(labels):
        raise DatasetError(
            f"{images_path} must hold an image a label; got {len(images)}, {len(labels)}; run prepare_dataset.py again"
        )
    return images, labels


def load_hashes(folder: Path | str, split: Split, fit: StoredFit = "main") -> Hashes:
    """Load the hashes of a split's images, uint8 (n, 16), in the split's order. `fit` is a name from Manifest.stored.

    In a folder that Windrow wrote before 2026-11-27 there are no hashes; then they are computed from the images.

    Raises:
        DatasetError: the file is broken, or the images' file is missing too.
    """
    path = Path(folder) / _hashes(split, fit)
    return open_array(path, None) if path.exists() else hashes.of(load_split(folder, split, fit)[0])


def load_names(folder: Path | str, split: Split) -> list[str]:
    """Return the names of a split's images, in the split's order.

    They are the names of the images' files, or "train image 0" and so on for images that were not files.
    """
    path = Path(folder) / _NAMES
    if path.exists():
        return list(json.loads(path.read_bytes())[split])
    return [f"{split} image {number}" for number in range(len(open_array(Path(folder) / _labels(split), None)))]


def split_files(folder: Path | str, *names: Split, fit: StoredFit = "main") -> list[Path]:
    """Return the paths of the named splits' files, images before labels, to be sent to executors, without hashes.

    `fit` is a name from Manifest.stored.
    """
    return [Path(folder) / file for name in names for file in (_images(name, fit), _labels(name))]


def file_name(split: Split, content: str, fit: StoredFit = "main") -> str:
    """Return the name of a split's file, such as train-images.npy, or train-images-crop.npy."""
    return f"{split}-{content}{'-crop' if fit == 'crop' else ''}.npy"


def _images(split: Split, fit: StoredFit = "main") -> str:
    return file_name(split, "images", fit)


def _labels(split: Split) -> str:
    return file_name(split, "labels")


def _hashes(split: Split, fit: StoredFit = "main") -> str:
    return file_name(split, "hashes", fit)


def _identity(settings: dict[str, object]) -> dict[str, object]:
    """Return the settings that the contents depend on, without the source, which is compared by itself.

    The contents do not depend on the mirrors, because the files from them are checked by digest. A manifest from before
    a key has the key's default.
    """
    whole = {**DatasetSection().model_dump(mode="json"), **settings}
    return {key: value for key, value in whole.items() if key not in ("source", "mirrors")}


@contextmanager
def aside_of(out: Path) -> Iterator[Path]:
    """Yield a folder inside `out` to write files in before they are moved; remove the folder after the block.

    Folders of this kind that killed processes left behind are removed first. files.replacing would not do: all files
    must move together, once all of them are written.
    """
    for stale in out.glob(f"{_ASIDE_PREFIX}*"):
        shutil.rmtree(stale, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE_PREFIX, dir=out))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_array(path: Path, array: NDArray[Any], indices: Indices) -> tuple[str, str]:
    """Write array[indices] as .npy, in chunks; return the SHA-256 of the file and that of the values alone."""
    rows = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
    chunks = (array[indices[start : start + rows]] for start in range(0, len(indices), rows))
    return write_chunks(path, array.dtype, (len(indices), *array.shape[1:]), chunks)


def write_chunks(
    path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], chunks: Iterable[NDArray[Any]]
) -> tuple[str, str]:
    """Write the rows of an array as .npy, one chunk after another.

    np.save is not used, because its error on a full disk carries no errno.

    Args:
        path: the file.
        dtype: type of the values.
        shape: shape of the whole array.
        chunks: its rows, in order.

    Returns:
        The SHA-256 of the file, and that of the values alone.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    file_hash, values_hash = hashlib.sha256(header.getvalue()), hashlib.sha256()
    with path.open("wb") as file:
        file.write(header.getvalue())
        for chunk in chunks:
            values = np.ascontiguousarray(chunk).tobytes()
            file.write(values)
            file_hash.update(values)
            values_hash.update(values)
        file.flush()
        os.fsync(file.fileno())
    return file_hash.hexdigest(), values_hash.hexdigest()


def _write_names(path: Path, division: Division) -> str:
    """Write the names of the images' files, by split, to `path`; return the SHA-256 of what was written."""
    names = {split: [part.names[index] for index in part.indices] for split, part in division.parts.items()}
    content = json.dumps(names).encode()
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _manifest(
    source: Source,
    section: DatasetSection,
    division: Division,
    files: dict[str, str],
    contents: dict[Split, Contents],
) -> Manifest:
    height, width, channels = source.train_images.shape[1:]
    identity = repr(((height, width, channels), source.labels, sorted(contents.items())))
    return Manifest(
        name=source.name,
        source=sources.origin(section),
        digest=hashlib.sha256(identity.encode()).hexdigest(),
        shape=(height, width, channels),
        labels=source.labels,
        splits={split: found[0] for split, found in contents.items()},
        files=files,
        settings=section.model_dump(mode="json"),
        fingerprint=source.fingerprint,
        left_out=division.left_out,
        class_counts=division.class_counts,
        copies=division.copies,
        near_copies=division.near_copies,
        warnings=division.warnings,
    )


def open_array(path: Path, mode: Any) -> NDArray[Any]:
    """Open one of a split's arrays, .npy; mapped into memory with mode "r".

    Raises:
        DatasetError: the file is missing or broken.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DatasetError(f"{path} must be a prepared split; got {reason}; run prepare_dataset.py again") from error
    return array
