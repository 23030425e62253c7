"""Fetch a model's champion for a comparison: its file, the images that it was trained on, its recorded figures."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from windrow.errors import UserError
from windrow.selection import common_images
from windrow.selection.common_images import Keys, RegisteredChampion
from windrow.tracking import registry
from windrow.tracking.models import fetch_model

if TYPE_CHECKING:
    from mlflow import MlflowClient


def fetch_champion(client: MlflowClient, model: str, into: Path) -> RegisteredChampion | None:
    """Download the champion's files into a folder; return None without a champion.

    A champion whose files are gone, damaged or not Windrow's is returned without a network, with the reason.
    No error is raised then, because trying again would not help: MLflow does answer.

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
    if not _is_whole(network.file):
        problem = f"can't be evaluated: its file {network.file.name} in MLflow is damaged"
        return RegisteredChampion(number, None, problem, None, accuracy, images)
    return RegisteredChampion(number, network, "", _seen(into), accuracy, images)


def _figures(version: Any) -> tuple[float | None, int | None]:
    """Return the test accuracy that a version records, and the number of images behind it; None if not recorded."""
    result = registry.recorded(version)
    if result is not None and result.test_accuracy is not None:
        return result.test_accuracy, result.test_images
    accuracy = version.tags.get("windrow.test_accuracy")
    return (float(accuracy) if accuracy else None), None


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
