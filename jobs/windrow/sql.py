"""Use an experiment page's model inside Spark SQL, in your own session.

    from windrow import experiment, sql

    sql.register(spark, experiment.load("dags/experiments/digits.yaml"))
    spark.sql("SELECT url, label_image(url).label FROM photographs")
    spark.sql("SELECT name, label_bytes(content).score FROM files")

`label_image` downloads with the page's limits, and refuses what score_images.py refuses. It writes no table: a query
that runs again downloads again. For many URLs, or new ones every day, use the job. See docs/sql.md.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from windrow.scoring import pipeline, planning, rehearsal
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.fetcher import Fetched
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target
from windrow.scoring.pipeline import ScoringPlan
from windrow.scoring.table.prediction import SCHEMA, Prediction
from windrow.spark import ship_package
from windrow.tracking.models import pin

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

    from windrow.experiment import Experiment

_COLUMNS = ("status", "label_id", "label", "score", "top_k", "width", "height", "content_hash", "http_status", "error")
RESULT = pa.struct([SCHEMA.field(name) for name in _COLUMNS])
"""The result type of label_image and label_bytes: some columns of the predictions table. Null gives null."""

_Label = Callable[[list[Any], ScoringPlan], list[Prediction | None]]


def register(spark: SparkSession, page: Experiment) -> None:
    """Add label_image(url STRING) and label_bytes(content BINARY) to a session. Both return a struct (see RESULT).

    The page's model is resolved now; register again to use a later champion.

    Raises:
        UserError: the page has no scoring section, or its model does not exist.
        TrackingError: MLflow does not answer.
    """
    for name, function in functions(spark, page).items():
        spark.udf.register(name, function)


def functions(spark: SparkSession, page: Experiment) -> dict[str, Callable[..., Column]]:
    """Return label_image and label_bytes by name, as functions of columns, without registering them."""
    from pyspark.sql.pandas.functions import arrow_udf
    from pyspark.sql.pandas.types import from_arrow_type

    make: Any = arrow_udf  # PySpark's annotations do not allow a struct as the result
    plan, result = _plan(spark, page), from_arrow_type(RESULT)
    labels: dict[str, _Label] = {"label_image": label_urls, "label_bytes": label_contents}
    return {name: make(_over_batches(label, plan), result) for name, label in labels.items()}


def _over_batches(label: _Label, plan: ScoringPlan) -> Callable[[Iterator[pa.Array]], Iterator[pa.Array]]:
    """Return a function that applies `label` to a task's Arrow batches, and yields batches of RESULT structs."""

    def function(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        here = pipeline.in_task(plan)
        for batch in batches:
            rows = label(batch.to_pylist(), here)
            yield pa.array([row and {name: getattr(row, name) for name in _COLUMNS} for row in rows], RESULT)

    return function


def label_urls(lines: list[str | None], plan: ScoringPlan) -> list[Prediction | None]:
    """Return a prediction per URL, in the same order; None for null or blank text.

    Duplicate URLs are downloaded once.
    """
    targets = [None if line is None else urls.understand(line.encode()) for line in lines]
    distinct = {target.url_key: target for target in targets if target is not None}
    rows = {row.url_key: row for row in pipeline.predictions(distinct.values(), plan)}
    return [None if target is None else rows[target.url_key] for target in targets]


def label_contents(contents: list[bytes | None], plan: ScoringPlan) -> list[Prediction | None]:
    """Return a prediction per encoded image, in the same order; None for null."""
    fetched = (
        (Target(url="", url_key=str(number)), Fetched(Status.OK, content=content))
        for number, content in enumerate(contents)
        if content is not None
    )
    rows = {row.url_key: row for row in pipeline.labelled(fetched, plan)}
    return [rows.get(str(number)) for number in range(len(contents))]


def _plan(spark: SparkSession, page: Experiment) -> ScoringPlan:
    """Return the plan that all tasks share, after loading the network in every slot.

    The limits for each web host are divided among the slots.
    """
    from pyspark import SparkFiles

    scoring = planning.scoring_section(page, page.name)
    ship_package(spark)
    slots = spark.sparkContext.defaultParallelism
    scratch = Path(tempfile.mkdtemp(dir=SparkFiles.getRootDirectory()))  # Spark removes it with the session
    model = pin(page, scratch)
    plan = planning.plan_with(spark, scoring, model, uuid.uuid4().hex, scratch)
    rate = plan.fetch.host_rate and plan.fetch.host_rate / slots
    fetch = replace(plan.fetch, host_concurrency=max(1, plan.fetch.host_concurrency // slots), host_rate=rate)
    return rehearsal.rehearse(spark, replace(plan, fetch=fetch), slots)
