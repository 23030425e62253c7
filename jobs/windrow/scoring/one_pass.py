"""Make one pass over a run's URLs: download and label them, write their rows, and measure what was written."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.errors import WindrowError
from windrow.plural import counted
from windrow.scoring import pipeline, progress
from windrow.scoring.report.measurement import Measurement, measure
from windrow.scoring.table import predictions_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from windrow.scoring.pipeline import ScoringPlan
    from windrow.scoring.work import Work

IMAGES_PER_TASK = 64
"""The fewest images that are worth a task of their own: importing TensorFlow for fewer costs more than it gains."""


def tasks(spark: SparkSession, urls: int | None) -> int:
    """Return how many tasks to use for this many URLs; one per slot if their number is not known."""
    slots = spark.sparkContext.defaultParallelism
    return slots if urls is None else max(1, min(slots, -(-urls // IMAGES_PER_TASK)))


def run(spark: SparkSession, found: Work, plan: ScoringPlan, rows: Path) -> Measurement:
    """Download and label every URL, write the rows to the folder `rows`, and measure them.

    Raises:
        WindrowError: the rows are not exactly one per URL.
    """
    started = time.monotonic()
    with progress.shown(spark, found.urls) as address:
        plan, partitions = replace(plan, progress=address), tasks(spark, found.urls)
        predictions_table.write(pipeline.score(found.targets, found.urls, plan, partitions), rows)
    seconds = time.monotonic() - started
    measured = measure(predictions_table.written(rows), seconds, spark.sparkContext.defaultParallelism)
    if not measured.figures.rows == measured.distinct_urls == found.urls:
        raise WindrowError(
            f"every URL must get one row; got {counted(measured.figures.rows, 'row')} for "
            f"{counted(found.urls, 'URL')}; nothing was kept"
        )
    return measured
