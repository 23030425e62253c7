"""Find, download and convert the backbone that a page names, once; later calls need no TensorFlow."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from windrow.data import download
from windrow.errors import UserError
from windrow.experiment.rules.network_file import is_web_address
from windrow.files import clear_when_full, locked, write_bytes, write_json, write_text
from windrow.model.backbone import Backbone, fingerprint
from windrow.model.backbones import feature_layer, first_run, keras_sources, lite0

FOLDER = "backbones"
RECIPE = 1
"""Version of the conversion. A change that gives other features must raise it, because features are kept by digest."""
EMBEDDED = "lite0"
APPLICATION = "keras:"
_MAX_BYTES = 10_000_000_000  # larger than any network for images; a server that sends more sends something else


@dataclass(frozen=True)
class _Source:
    """Where a backbone comes from.

    Attributes:
        name: its name for people.
        weights: SHA-256 of its weights; None if they must be loaded first.
        open: makes the Keras network.
    """

    name: str
    weights: str | None
    open: Callable[[], Any]


def bring(name: str, sha256: str | None, layer: str | None, home: Path, page_folder: Path) -> Backbone:
    """Bring a backbone to this machine, and return it.

    The first call converts the network, which needs TensorFlow, and writes `home/backbones/<digest>.keras`. Later calls
    find that file; they compare the digest of the source, and import no TensorFlow.

    Args:
        name: `lite0`, the path or URL of a .keras file, or `keras:` with the name of a network of keras.applications.
        sha256: SHA-256 of the .keras file; None accepts a local file as it is, and trusts a URL's first download.
        layer: name of the layer whose output is used; None for the network's own features (feature_layer.cut).
        home: the folder for what Windrow keeps.
        page_folder: the folder that a relative path starts from.

    Raises:
        UserError: the file is missing, has another digest, is no network, or has no such layer or no useful features.
        DownloadError: a download failed, or returned another file than before.
        ServiceError: the disk is full.
    """
    folder = home / FOLDER
    source = _source(name, sha256, home, page_folder)
    with clear_when_full(folder), locked(folder):
        found = _kept(folder, source, layer)
        return found if found is not None else _convert(folder, source, layer)


def _source(name: str, sha256: str | None, home: Path, page_folder: Path) -> _Source:
    if name == EMBEDDED or name.startswith(APPLICATION):
        if sha256 is not None:
            raise UserError(
                f"network.backbone_sha256 must be empty where network.backbone is {name}, which has its own check; "
                f"got {sha256[:16]}...; remove it"
            )
        if name == EMBEDDED:
            file = lite0.file()
            return _Source(lite0.NAME, lite0.SHA256, lambda: lite0.build(lite0.weights(file)))
        return _Source(name, None, partial(keras_sources.application, name.removeprefix(APPLICATION)))
    file = _file(name, sha256, home, page_folder)
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 not in (None, found):
        raise UserError(
            f"network.backbone_sha256 must be the digest of {file.name}; got {str(sha256)[:16]}... for {found}; "
            "bring the right file, or correct the page"
        )
    return _Source(file.stem, found, partial(keras_sources.load, file))


def _file(name: str, sha256: str | None, home: Path, page_folder: Path) -> Path:
    """Return a .keras file on this machine: the one at a path, or the download of a URL."""
    place = urlsplit(name).path if is_web_address(name) else name
    if PurePosixPath(place).suffix != ".keras":
        raise UserError(
            f"network.backbone must be {EMBEDDED}, a .keras file, a URL of one, or {APPLICATION}NAME; got {name!r}; "
            "correct the page"
        )
    if is_web_address(name):
        mark = hashlib.sha256(name.encode()).hexdigest()[:16]  # two sites may have files of the same name
        folder = home / "downloads" / "networks" / mark
        return download.fetch_trusted(name, folder, sha256, key="network.backbone_sha256", max_bytes=_MAX_BYTES)
    path = page_folder / Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"network.backbone must be a file that is there; {path} is not; bring it, or correct the page")
    return path


def _digest(weights: str, layer: str | None) -> str:
    return hashlib.sha256(json.dumps([RECIPE, weights, layer]).encode()).hexdigest()


def _kept(folder: Path, source: _Source, layer: str | None) -> Backbone | None:
    """Return the backbone that an earlier call has converted, or None."""
    remembered = _remembered(folder, source)
    weights = source.weights
    if weights is None and remembered.is_file():
        weights = remembered.read_text(encoding="ascii").strip()
    if weights is None:
        return None
    digest = _digest(weights, layer)
    record, file = folder / f"{digest}.json", folder / f"{digest}.keras"
    if not record.is_file() or not file.is_file():
        return None
    backbone = Backbone.from_json(json.loads(record.read_text(encoding="utf-8")))
    if not backbone.weights:  # a record from before they were counted
        backbone = replace(backbone, weights=_count(file))
        write_json(record, backbone.to_json())
    return replace(backbone, name=source.name, file=file)


def _count(file: Path) -> int:
    """Return the number of weights of a network that was converted; this needs TensorFlow."""
    from windrow.training.runtime import from_bytes, import_without_gpus

    import_without_gpus()
    return int(from_bytes(file.read_bytes()).count_params())


def _remembered(folder: Path, source: _Source) -> Path:
    """Return the file with the digest of the weights of a network that does not come from a file."""
    return folder / f"{source.name.replace(':', '-')}.weights.sha256"


def _convert(folder: Path, source: _Source, layer: str | None) -> Backbone:
    """Convert a backbone and write its file, and then its record."""
    from windrow.training.runtime import import_without_gpus, to_bytes, weights_digest

    import_without_gpus()
    print(f"{source.name}: converted now, and kept in {folder}", file=sys.stderr)
    network = source.open()
    weights = source.weights or weights_digest(network)
    part = feature_layer.cut(network, layer, source.name)
    digest = _digest(weights, layer)
    height, width, channels = part.input_shape[1:]
    shape = (height, width, channels)
    features = first_run.features(part, shape, source.name)
    file = write_bytes(folder / f"{digest}.keras", to_bytes(part))
    backbone = Backbone(source.name, file, digest, shape, features.shape[1], fingerprint(features), part.count_params())
    write_json(folder / f"{digest}.json", backbone.to_json())
    if source.weights is None:
        write_text(_remembered(folder, source), f"{weights}\n")
    return backbone
