"""Rows of the predictions table without a download or a network, and a page's defaults for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from windrow.experiment import ScoringSection
from windrow.scoring.fetch.request import Fetched, FetchPolicy
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target, understand
from windrow.scoring.table import prediction
from windrow.scoring.table.prediction import Patience, Prediction, Stamp

STAMP = Stamp("run", "model", "1", "digest")
PATIENCE = Patience(attempts=5, hours=6.0)
DEFAULTS = FetchPolicy.of(ScoringSection(feed="feeds/*.txt"))


def policy(**changes: Any) -> FetchPolicy:
    """The defaults of a page for downloads, but for these values."""
    return replace(DEFAULTS, **changes)


def row_of(target: Target | str, status: str = "ok", stamp: Stamp = STAMP, **columns: Any) -> Prediction:
    """The row of a URL that ended with `status`, and whatever else it has."""
    understood = understand(target.encode()) if isinstance(target, str) else target
    assert understood is not None
    row = Prediction.of(understood, Fetched(Status(status), error=understood.error), stamp)
    return replace(row, **{"content_hash": None, **columns})


def labelled_row(
    target: Target | str,
    ids: Sequence[int],
    scores: Sequence[float],
    names: Sequence[str],
    stamp: Stamp = STAMP,
    **columns: Any,
) -> Prediction:
    """The row of a URL whose image has these labels, best first."""
    return row_of(target, stamp=stamp, **columns).with_labels(ids, scores, names)


def add_predictions(folder: Path, version: str, labels: Mapping[str, tuple[int, float]]) -> None:
    """Commit a run's rows to the table in `folder`, made if absent.

    Args:
        folder: the table's.
        version: of the model that labels; the run is called after it.
        labels: a digit and its score for each URL.
    """
    import pyarrow.parquet as pq
    from windrow.scoring.table.predictions_table import PredictionTable

    run = f"run-{version}"
    stamp = Stamp(run, "digits", version, "digest")
    rows = [labelled_row(url, [digit], [score], "0123456789", stamp) for url, (digit, score) in labels.items()]
    predictions = PredictionTable(folder)
    with predictions.staged(run) as staging:
        staging.mkdir(exist_ok=True)
        with pq.ParquetWriter(staging / "part-0.parquet", prediction.SCHEMA) as writer:
            writer.write_batch(prediction.record_batch(rows, PATIENCE))
        predictions.commit(staging, run, {"modelVersion": version})
