"""Read and write the features of a prepared data set, next to its images.

train-features.npy        float16 (n, views, features), view 0 is the image
validation-features.npy   float16 (n, 1, features)
test-features.npy         float16 (n, 1, features); never read to choose a network
train-features-crop.npy   and so on, where dataset.fit is both: those of the cropped images
features.json             their description, written last
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from windrow import files
from windrow.data import manifest as manifests
from windrow.data import shards
from windrow.data.features import feature_cache, views
from windrow.data.features.feature_cache import FeatureCache, Keys, Values
from windrow.data.features.records import Features, FeatureSource
from windrow.data.manifest import Manifest
from windrow.data.splits import SPLITS, Split, StoredFit
from windrow.errors import DatasetError
from windrow.experiment import Experiment
from windrow.model.backbone import Backbone

FILE = "features.json"
_CURE = "run embed_images.py on it"
_CHUNK_ROWS = 4096


def source_of(page: Experiment) -> FeatureSource:
    """Return what a page says about its backbone.

    Raises:
        UserError: the page names no backbone.
    """
    network = page.network
    if network.backbone is None:
        raise DatasetError(
            "features need a backbone; got none in network.backbone; set it, for example --set network.backbone=lite0"
        )
    return FeatureSource(network.backbone, network.backbone_sha256, network.backbone_layer)


def digest_of(dataset: str, backbone: Backbone, number: int) -> str:
    """Return the digest of a data set's features with so many views of a training image."""
    return sha256(repr((dataset, feature_cache.key_of(backbone), number)).encode()).hexdigest()


def view_keys(folder: Path, split: Split, number: int, fit: StoredFit = "main") -> Keys:
    """Return the names of the views of a split's images, S17 (n * number,): all views of an image together.

    `fit` is a name from Manifest.stored.
    """
    hashes = shards.load_hashes(folder, split, fit)
    numbers = np.tile(np.arange(number, dtype=np.uint8), len(hashes))
    return feature_cache.keys(np.repeat(hashes, number, axis=0), numbers)


def in_splits(number: int) -> dict[Split, int]:
    """Return the number of views of an image by split, if a training image has `number`."""
    return {split: number if split == "train" else 1 for split in SPLITS}


def read(folder: Path) -> Features:
    """Read the description of a prepared data set's features.

    Raises:
        DatasetError: there are no features, or they are those of another data set.
    """
    path = folder / FILE
    try:
        found = TypeAdapter(Features).validate_json(path.read_bytes())
    except OSError as error:
        raise DatasetError(
            f"{folder} must hold the features of its images; got no {FILE} ({error.strerror}); {_CURE}"
        ) from error
    except ValidationError as error:
        mistake = error.errors()[0]
        place = ".".join(map(str, mistake["loc"]))
        raise DatasetError(
            f"{path} must describe features of this version; got {place}: {mistake['msg']}; {_CURE}"
        ) from error
    dataset = manifests.read(folder).digest
    if found.dataset != dataset:
        raise DatasetError(
            f"{path} must be of the data set in its folder, {dataset[:16]}; got features of {found.dataset[:16]}; "
            f"{_CURE} again"
        )
    return found


def read_for(page: Experiment, folder: Path) -> Features:
    """Read the description of features, and check that they are those that the page asks for.

    Raises:
        DatasetError: as for `read`; or the features are those of another backbone, have too few views, or are of
            images with another dataset.fit.
    """
    found, wanted, number = read(folder), source_of(page), views.most_views(page)
    if (fit := manifests.read(folder).settings.get("fit", "squash")) != page.dataset.fit:
        raise DatasetError(
            f"{folder} must hold images as dataset.fit asks for, {page.dataset.fit}; got {fit}; "
            "run prepare_dataset.py and embed_images.py again"
        )
    if found.source != wanted:
        raise DatasetError(
            f"{folder / FILE} must be of the page's backbone, {_shown(wanted)}; got features of "
            f"{_shown(found.source)}; {_CURE} again"
        )
    if found.views < number:
        raise DatasetError(
            f"{folder / FILE} must have {number} views of a training image, as the page draws them; "
            f"got {found.views}; {_CURE}"
        )
    return found


def existing(folder: Path, digest: str, source: FeatureSource) -> Features | None:
    """Return the features in `folder` if they have this digest and source, and are as written; None otherwise."""
    try:
        found = read(folder)
        for name, expected in found.files.items():
            manifests.verify_file(folder / name, expected)
    except DatasetError:
        return None
    return found if (found.digest, found.source) == (digest, source) else None


def with_backbone(folder: Path, found: Features, backbone: Backbone) -> Features:
    """Return features with this record of their backbone, after writing it to features.json if it is new there.

    The caller holds the folder's lock.

    Raises:
        ServiceError: the disk is full; features.json is then unchanged.
    """
    if found.backbone == backbone:
        return found
    changed = replace(found, backbone=backbone)
    with files.clear_when_full(folder):
        files.write_json(folder / FILE, asdict(changed))
    return changed


def write(
    folder: Path,
    manifest: Manifest,
    cache: FeatureCache,
    description: Features,
) -> Features:
    """Write the features of all splits from the cache in place of what was there; return their description.

    The caller holds the folder's lock.

    Args:
        folder: the folder of the data set.
        manifest: its manifest.
        cache: the cache, which holds every view.
        description: the description without files.

    Raises:
        ServiceError: the disk is full; the folder then has no features.json.
    """
    with files.clear_when_full(folder):
        (folder / FILE).unlink(missing_ok=True)
        written = {}
        with shards.aside_of(folder) as aside:
            every = in_splits(description.views).items()
            for split, number, fit in ((*each, fit) for fit in manifest.stored for each in every):
                shape = (manifest.splits[split], number, description.backbone.features)
                chunks = _chunks(cache, view_keys(folder, split, number, fit))
                name = _features(split, fit)
                written[name], _ = shards.write_chunks(aside / name, np.dtype(np.float16), shape, chunks)
            for stale in (_features(split, "crop") for split in SPLITS):
                (folder / stale).unlink(missing_ok=True)  # of an earlier dataset.fit
            for name in written:
                (aside / name).replace(folder / name)
        whole = replace(description, files=written)
        files.write_json(folder / FILE, asdict(whole))
    return whole


def load_split(
    folder: Path | str, split: Split, fit: StoredFit = "main"
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Return a split's features, float16 (n, views, features), mapped read-only, and its labels, int64 (n,).

    The folder needs only the two files of the split. `fit` is a name from Manifest.stored.

    Raises:
        DatasetError: one of the files is missing or broken.
    """
    values_path, labels_path = split_files(folder, split, fit=fit)
    values, labels = shards.open_array(values_path, "r"), shards.open_array(labels_path, None)
    if len(values) != len(labels):
        raise DatasetError(
            f"{values_path} must hold features for each label; got {len(values)}, {len(labels)}; {_CURE} again"
        )
    return values, labels


def split_files(folder: Path | str, *names: Split, fit: StoredFit = "main") -> list[Path]:
    """Return the paths of the named splits' files, features before labels, to be sent to executors.

    `fit` is a name from Manifest.stored.
    """
    found = []
    for name in names:
        _, labels = shards.split_files(folder, name)
        found += [Path(folder) / _features(name, fit), labels]
    return found


def _features(split: Split, fit: StoredFit) -> str:
    return shards.file_name(split, "features", fit)


def _shown(source: FeatureSource) -> str:
    layer = f", layer {source.backbone_layer}" if source.backbone_layer else ""
    digest = f", SHA-256 {source.backbone_sha256[:16]}" if source.backbone_sha256 else ""
    return f"{source.backbone}{layer}{digest}"


def _chunks(cache: FeatureCache, wanted: Keys) -> Iterator[Values]:
    for start in range(0, len(wanted), _CHUNK_ROWS):
        yield cache.read(wanted[start : start + _CHUNK_ROWS])
