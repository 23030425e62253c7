"""The URLs that a new model labels again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from harness.predictions import PATIENCE, labelled_row, row_of
from windrow.scoring.table import prediction, rescoring
from windrow.scoring.table.prediction import Stamp


@pytest.mark.spark
def test_a_url_that_is_labelled_again_is_no_first_try(spark: Any, tmp_path: Path) -> None:
    """Only first tries are judged by scoring.minimum_ok_share."""
    old, new = Stamp("r0", "m", "1", "digest"), Stamp("r1", "m", "2", "digest")
    rows = [
        labelled_row("http://a.example/1", [0], [0.5], "ab", old),
        labelled_row("http://a.example/2", [0], [0.5], "ab", old),
        labelled_row("http://a.example/2", [0], [0.5], "ab", new),
        row_of("http://a.example/3", "http_error", old),
    ]
    with pq.ParquetWriter(tmp_path / "part-0.parquet", prediction.SCHEMA) as writer:
        writer.write_batch(prediction.record_batch(rows, PATIENCE))
    found = rescoring.targets(spark, [tmp_path / "part-0.parquet"], ("m", "2")).collect()
    assert [(row["url"], row["attempt"]) for row in found] == [("http://a.example/1", 1)]
