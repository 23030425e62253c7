"""A predictions table as a scoring run leaves it, without one: for whoever reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def add_predictions(folder: Path, version: str, labels: Mapping[str, tuple[int, float]]) -> None:
    """Commit a run's rows to the table in `folder`, made if absent.

    Args:
        folder: the table's.
        version: of the model that labels; the run is called after it.
        labels: a digit and its score for each URL.
    """
    import pyarrow.parquet as pq
    from windrow.scoring.fetch.urls import understand
    from windrow.scoring.table import prediction
    from windrow.scoring.table.prediction import Patience, Stamp
    from windrow.scoring.table.predictions_table import PredictionTable

    run, rows = f"run-{version}", []
    for url, (digit, score) in labels.items():
        target = understand(url.encode())
        assert target is not None
        row = prediction.row(target, None, Stamp(run, "digits", version, "digest")) | {"status": "ok"}
        rows.append(row | prediction.ranked([digit], [score], tuple("0123456789")))
    predictions = PredictionTable(folder)
    with predictions.staged(run) as staging:
        staging.mkdir(exist_ok=True)
        with pq.ParquetWriter(staging / "part-0.parquet", prediction.SCHEMA) as writer:
            writer.write_batch(prediction.record_batch(rows, Patience()))
        predictions.commit(staging, run, {"modelVersion": version})
