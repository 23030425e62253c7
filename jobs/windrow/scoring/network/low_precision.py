"""Convert the page's network to a lower precision once, measure the loss, and refuse a network that loses too much.

    model, loss = lower(model, page.scoring.precision, paths.home())

    WINDROW_HOME/lowered/KEY/network/       the converted network in OpenVINO's format
    WINDROW_HOME/lowered/KEY/report.json    its loss and its canaries; the folder is complete or absent

KEY is a digest of the network's file and form, its labels, the images, the precision and the packages, so a nightly run
with the same network converts nothing. The conversion is a separate process (openvino_convert.py), because it needs
TensorFlow.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import windrow
from windrow.data.image_files import content
from windrow.data.image_files.listed import listed, visible
from windrow.errors import UserError, WindrowError
from windrow.files import clear_when_full, locked
from windrow.model.canaries import Canary
from windrow.model.form import Form
from windrow.model.network import Network
from windrow.model.precision_loss import PrecisionLoss
from windrow.scoring.network import labels as class_names
from windrow.scoring.network import own_network
from windrow.scoring.network.openvino_convert import NETWORK, REPORT, Request

if TYPE_CHECKING:
    from windrow.experiment import PrecisionSection

FOLDER = "lowered"
FEWEST, MOST = 32, 2000
"""Limits on the number of images. Half of them are compared, so with fewer the loss means little; with more, the
conversion takes minutes and a gigabyte of memory."""

_PACKAGES = {"int8": ("openvino", "nncf"), "bf16": ("openvino",)}
_LARGEST_CACHE = 8  # converted networks
_LOST = ("images", "same_labels", "score_change_mean", "score_change_max", "accuracy_as_it_is", "accuracy")


def lower(model: Network, section: PrecisionSection, home: Path) -> tuple[Network, PrecisionLoss]:
    """Return the network with a converted file and the same name and version, and what the conversion loses.

    Raises:
        UserError: the network can't be converted, or loses more than the section allows.
        WindrowError: the conversion failed for a reason that the user can't correct.
    """
    check_installed(section)
    folder = home / Path(section.images).expanduser()
    images = list_images(folder)
    key = _key(model, section, own_network.digest_of(folder))
    place = home / FOLDER / key
    with locked(place.parent):
        if not (place / REPORT).is_file():
            _make(place, _request(model, section, folder, images))
        os.utime(place)
        _prune(place.parent)
    report = json.loads((place / REPORT).read_text(encoding="utf-8"))
    _check_loss(model, section, report)
    lowered = replace(
        model,
        file=place / NETWORK,
        digest=own_network.digest_of(place / NETWORK),
        shape=tuple(report["shape"]),
        form=Form("openvino", resize=model.form.resize, precision=section.type),
        canaries=tuple(Canary.of(**one) for one in report["canaries"]),
    )
    return lowered, PrecisionLoss(section.type, report["runtime"], **{name: report[name] for name in _LOST})


def check_installed(section: PrecisionSection) -> None:
    """Check that the packages of a conversion are installed.

    Raises:
        UserError: a package is not installed.
    """
    missing = [name for name in _PACKAGES[section.type] if find_spec(name) is None]
    if missing:
        raise UserError(
            f"scoring.precision.type {section.type} needs {' and '.join(missing)}; got an environment without; "
            f"run pip install -r requirements.txt there, or pip install {' '.join(missing)} on Linux arm64"
        )


def list_images(folder: Path) -> list[Path]:
    """List the images in a folder and in its direct sub-folders, ordered by path; their content says what they are.

    Raises:
        UserError: the folder does not exist, has files that are no images, or has too few or too many images.
    """
    if not folder.is_dir():
        raise UserError(f"scoring.precision.images must be a folder of images; {folder} does not exist; bring it")
    places = [folder, *(path for path in visible(folder) if path.is_dir())]
    rows = [row for place in places for row in listed(place, nested=False)]
    if lost := [row for row in rows if row.problem is not None and row.lost]:
        raise UserError(f"scoring.precision.images must be images; {lost[0].path} is {lost[0].problem}; remove it")
    images = sorted(row.path for row in rows if row.problem is None)
    if not FEWEST <= len(images) <= MOST:
        raise UserError(
            f"scoring.precision.images must hold {FEWEST} to {MOST:,} images ({content.READ}), at its top or in "
            f"one folder per class; got {len(images):,} in {folder}; name a folder of images like those of the feed"
        )
    return images


def true_classes(folder: Path, images: Sequence[Path], labels: Sequence[str]) -> list[int] | None:
    """Return the true class of each image, which is the name of its sub-folder: a label, or a synonym of one.

    None if a sub-folder has another name, or an image is not in a sub-folder.
    """
    numbers = class_names.numbers(labels)
    names = {path.parent.name for path in images if path.parent != folder}
    unknown = sorted(name for name in names if class_names.number_of(name, numbers) is None)
    if unknown and len(unknown) < len(names):
        print(f"accuracy is not measured in {folder}: no label is called {unknown[0]!r}", file=sys.stderr)
    if unknown or any(path.parent == folder for path in images):
        return None
    found = [class_names.number_of(path.parent.name, numbers) for path in images]
    return [number for number in found if number is not None]


def _key(model: Network, section: PrecisionSection, images: str) -> str:
    packages = [metadata.version(name) for name in _PACKAGES[section.type]]
    # Raise this number with every change of the code that converts the same input to a different network.
    parts = [2, model.digest, asdict(model.form), model.shape, model.labels, images, section.type, *packages]
    return sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _request(model: Network, section: PrecisionSection, folder: Path, images: Sequence[Path]) -> Request:
    return Request(
        file=str(model.file.absolute()),
        form=model.form,
        shape=model.shape,
        precision=section.type,
        images=[str(path.absolute()) for path in images],
        classes=true_classes(folder, images, model.labels),
        canaries=model.canaries,
    )


def _make(place: Path, request: Request) -> None:
    """Convert into a temporary folder, then move it to `place`.

    A temporary folder that a killed run left is removed first, which is safe because this run has the lock.
    """
    aside = place.with_name(".aside")  # not files.replacing, which can't replace a folder with files in it
    shutil.rmtree(aside, ignore_errors=True)
    print(f"converting {Path(request.file).name} to {request.precision}, about a minute", file=sys.stderr, flush=True)
    with clear_when_full(place.parent), tempfile.TemporaryDirectory(prefix="windrow-") as scratch:
        file = Path(scratch) / "request.json"
        request.write(file)
        aside.mkdir()
        _run([sys.executable, "-m", "windrow.scoring.network.openvino_convert", str(file), str(aside)])
        shutil.rmtree(place, ignore_errors=True)
        aside.rename(place)


def _run(command: Sequence[str]) -> None:
    """Run the conversion.

    Raises:
        UserError: the conversion ended with exit code 2: the user can fix the cause.
        WindrowError: the conversion ended with another exit code.
    """
    path = os.pathsep.join([str(Path(windrow.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    variables = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, errors="replace")
    if done.returncode == UserError.exit_code:
        raise UserError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise WindrowError(f"the conversion must end well; got exit code {done.returncode}; it said: {last}")


def _prune(folder: Path) -> None:
    """Keep only the 8 converted networks used last; otherwise every champion would leave one behind."""
    places = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime)
    for path in places[_LARGEST_CACHE:]:
        shutil.rmtree(path, ignore_errors=True)


def _check_loss(model: Network, section: PrecisionSection, report: Mapping[str, float]) -> None:
    if report["same_labels"] < section.same_labels:
        same = round(report["same_labels"] * report["images"])
        raise UserError(
            f"scoring.precision.same_labels of {section.same_labels:g} must be kept; at {section.type} {same} of "
            f"{report['images']} images keep the label that {model.name} gives ({report['same_labels']:.4f}); bring "
            "more images like those of the feed, lower it, or remove scoring.precision"
        )
