"""The URLs that a new model labels again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from harness.predictions import PATIENCE, labelled_row, row_of
from hypothesis import given, settings
from windrow.scoring.table import earlier, prediction, rescoring
from windrow.scoring.table.prediction import Prediction, Stamp

from .test_earlier import ROWS, Rows, write


def found(spark: Any, folder: Path, rows: list[Prediction], version: str) -> list[tuple[str, int]]:
    """The URL and attempt of each target, of a table with these rows."""
    with pq.ParquetWriter(folder / "part-0.parquet", prediction.SCHEMA) as writer:
        writer.write_batch(prediction.record_batch(rows, PATIENCE))
    targets = rescoring.targets(spark, [folder / "part-0.parquet"], ("m", version)).collect()
    return [(row["url"], row["attempt"]) for row in targets]


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
    assert found(spark, tmp_path, rows, "2") == [("http://a.example/1", 1)]
    assert found(spark, tmp_path, rows, "1") == []


@pytest.mark.spark
@given(rows=ROWS)
@settings(max_examples=8)
def test_it_finds_the_urls_that_are_counted_whatever_the_order_of_the_versions(
    spark: Any, tmp_path_factory: pytest.TempPathFactory, rows: Rows
) -> None:
    file = write(tmp_path_factory.mktemp("rows") / "part-0.parquet", rows)
    urls = [row["url"] for row in rescoring.targets(spark, [file], ("m", "3")).collect()]
    assert len(urls) == len(set(urls)) == sum(earlier.count([file], ("m", "3")).values())
