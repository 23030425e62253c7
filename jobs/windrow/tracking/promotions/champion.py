"""Fetch a model's champion for a comparison: its file, the images that it was trained on, its recorded figures."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from windrow.errors import UserError
from windrow.model.network import Network
from windrow.selection import common_images
from windrow.selection.common_images import Keys, RegisteredChampion
from windrow.tracking import registry
from windrow.tracking.models import fetch_model

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LONGEST_REASON = 200
"""Characters of an error of Keras that are shown."""


def fetch_champion(client: MlflowClient, model: str, into: Path) -> RegisteredChampion | None:
    """Download the champion's files into a folder; return None without a champion.

    A champion that can't be used here is returned without a network, with the reason: its files are gone, damaged or
    not Windrow's, or this version of Keras can't load or run the network. No error is raised then, because trying again
    would not help: MLflow does answer.

    Raises:
        TrackingError: MLflow does not answer, or can't hand out the files from here.
    """
    version = registry.aliased(client, model, "champion")
    if version is None:
        return None
    number, (accuracy, images) = str(version.version), _figures(version)
    try:
        network = fetch_model(f"models:/{model}/{number}", into)
    except UserError as error:
        return RegisteredChampion(number, None, f"can't be evaluated: {error}", None, accuracy, images)
    if problem := _problem(network, version.tags):
        return RegisteredChampion(number, None, f"can't be evaluated: {problem}", None, accuracy, images)
    return RegisteredChampion(number, network, "", _seen(into), accuracy, images)


def _figures(version: Any) -> tuple[float | None, int | None]:
    """Return the test accuracy that a version records, and the number of images behind it; None if not recorded."""
    result = registry.recorded(version)
    if result is not None and result.test_accuracy is not None:
        return result.test_accuracy, result.test_images
    accuracy = version.tags.get("windrow.test_accuracy")
    return (float(accuracy) if accuracy else None), None


def _problem(network: Network, tags: Mapping[str, str]) -> str:
    """Load a network and label one black image with it; return what prevents that, empty if nothing does."""
    if not _is_whole(network.file):
        return f"its file {network.file.name} in MLflow is damaged"
    from windrow.training import runtime

    runtime.import_without_gpus()
    wanted = (1, len(network.labels))
    try:
        loaded = runtime.from_bytes(network.file.read_bytes())
        scores = np.asarray(loaded(np.zeros((1, *(network.shape or ())), np.float32), training=False))
    except Exception as error:  # whatever Keras, or a class of the user's, raises
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"Keras can't run its file {network.file.name} here{_other_keras(tags)}: {first[:_LONGEST_REASON]}"
    if scores.shape != wanted or not np.isfinite(scores).all():
        return f"its network must give {wanted} probabilities; it gave {scores.shape}, or numbers that are not finite"
    return ""


def _other_keras(tags: Mapping[str, str]) -> str:
    """Return the version of Keras that made a network, in parentheses; empty if it is today's, or not recorded."""
    made = tags.get("windrow.version.keras")
    now = metadata.version("keras")
    return f" (made by Keras {made}, and this is {now})" if made not in (None, now) else ""


def _is_whole(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, OSError):
        return False


def _seen(folder: Path) -> Keys | None:
    """Return the keys of the images that the version was trained and chosen on; None if not recorded, or damaged."""
    for file in folder.rglob(common_images.FILE):
        try:
            keys: Keys = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return keys
    return None
