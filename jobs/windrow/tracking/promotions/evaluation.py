"""Log a version's evaluation to its logged model in MLflow, to which the version's page has a link.

The files are in the folder `evaluation` of the model: the pictures, the metrics, and the promotion's whole result.
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.selection import metrics
from windrow.selection.metrics import MetricFigures
from windrow.selection.promotion_result import PromotionResult
from windrow.selection.readout import Readout
from windrow.tracking.version_page import RESULT_FILE

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from windrow.data.manifest import Manifest

_FOLDER, _RESULT_NAME = RESULT_FILE.split("/")
_NOT_IN_A_NAME = re.compile(r"[^\w.\- :]")
"""What MLflow takes in no metric's name, and slashes, which would make folders of its charts."""

_LONGEST_NAME = 247
"""Characters of a metric's name, of which MLflow takes 250: three are for the number that tells equal ones apart."""


def log_files(
    client: MlflowClient,
    model_id: str,
    read: Readout,
    labels: tuple[str, ...],
    pictures: Mapping[str, bytes],
    result: PromotionResult,
) -> None:
    """Add a version's files to its logged model.

    Args:
        model_id: the logged model's id.
        read: the version's predictions on the test split.
        labels: the names of all classes, in order.
        pictures: PNG files by name.
        result: the result of the version's promotion.
    """
    with tempfile.TemporaryDirectory(prefix="windrow-") as folder:
        for name, content in pictures.items():
            (Path(folder) / name).write_bytes(content)
        _write(Path(folder) / "metrics.json", _details(read, labels, result.metrics))
        _write(Path(folder) / _RESULT_NAME, result.to_json())
        client.log_model_artifacts(model_id, folder, _FOLDER)


def _details(read: Readout, labels: tuple[str, ...], found: MetricFigures | None) -> dict[str, object]:
    curve = metrics.calibration(read)
    bins = [] if curve is None else zip(curve.confidence, curve.accuracy, curve.images, strict=True)
    return {
        "accuracy": read.accuracy,
        "images": read.images,
        **(found or {}),
        "calibration": [{"confidence": float(c), "accuracy": float(a), "images": int(n)} for c, a, n in bins],
        "confusion": metrics.confusion(read, len(labels)).tolist(),
    }


def _write(path: Path, values: Mapping[str, object]) -> None:
    path.write_text(json.dumps(values, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def figures_of(read: Readout, found: MetricFigures | None) -> dict[str, float]:
    """Return a version's test figures by metric name, with each class's recall if there are at most MOST_CLASSES."""
    figures = {"test_accuracy": read.accuracy, "test_loss": read.loss}
    if found is None:
        return figures
    figures["test_macro_f1"] = found["macro_f1"]
    if found["ece"] is not None:
        figures["test_ece"] = found["ece"]
    if len(found["classes"]) <= metrics.MOST_CLASSES:
        taken: set[str] = set()
        for place, each in enumerate(found["classes"]):
            if each["recall"] is not None:
                plain = f"test_recall_{_NOT_IN_A_NAME.sub('_', each['label'])}"[:_LONGEST_NAME]
                names = itertools.chain([plain], (f"{plain} {number}" for number in itertools.count(place)))
                name = next(name for name in names if _folded(name) not in taken)
                taken.add(_folded(name))
                figures[name] = each["recall"]
    return figures


def _folded(name: str) -> str:
    """Return a name as databases with the loosest rules compare names: without case, accents and spaces at the end.

    MLflow refuses two figures of one name in a batch, and with MySQL `Cat` and `cat` are one.
    """
    letters = unicodedata.normalize("NFKD", name)
    return "".join(each for each in letters if not unicodedata.combining(each)).casefold().rstrip()


def log_figures(
    client: MlflowClient, run_id: str, figures: Mapping[str, float], model_id: str, dataset: Manifest, now: int
) -> None:
    """Log test figures to a run, and to the logged model as figures of this data set; `now` is in milliseconds."""
    from mlflow.entities import Metric

    about = {"model_id": model_id, "dataset_name": dataset.name, "dataset_digest": dataset.digest[:32]}
    client.log_batch(run_id, metrics=[Metric(key, float(value), now, 0, **about) for key, value in figures.items()])
