"""Load the network in every slot before the first download, and report its properties to the driver.

A network that can't be used is found here, so that the job ends with a message instead of a failed Spark stage. The
Python workers stay alive: the tasks that follow find TensorFlow imported and the network loaded. All slots must give
the canaries the labels that the registry has recorded; if the registry has none, those of the first slot.
"""

from __future__ import annotations

import json
import socket
import traceback
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from windrow.errors import UserError, WindrowError
from windrow.model import canaries
from windrow.model.canaries import Canary
from windrow.scoring import pipeline
from windrow.scoring.network import graph_errors, labels
from windrow.scoring.pipeline import ScoringPlan

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SCHEMA = pa.schema([("report", pa.string())])


def rehearse(spark: SparkSession, plan: ScoringPlan, tasks: int) -> ScoringPlan:
    """Load the network in every slot; return the plan, completed with facts about the loaded network.

    The facts are the input shape, the labels, the labels for the canaries, and whether the network takes image files
    or pixels.

    Args:
        spark: the session.
        plan: the run's plan.
        tasks: the number of slots.

    Raises:
        UserError: the network's file can't be loaded, or does not fit the page.
        WindrowError: a worker gives the canaries different labels.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    slots = spark.range(tasks, numPartitions=tasks)
    rows = slots.mapInArrow(partial(_task, plan=plan), from_arrow_schema(_SCHEMA)).collect()
    reports = [json.loads(row["report"]) for row in rows]
    for report in reports:
        if "error" in report:
            raise (UserError if report["user_error"] else WindrowError)(report["error"])
    first = reports[0]
    expected = plan.model.canaries or _canaries(first)
    for report in reports:
        canaries.check(_canaries(report), expected, report["host"])
    model = replace(
        plan.model,
        shape=first["shape"] and tuple(first["shape"]),
        takes_bytes=first["takes_bytes"],
        labels=labels.fit(plan.model.labels, first["classes"], plan.model.open_ended),
        canaries=expected,
    )
    return replace(plan, model=model)


def _canaries(report: dict[str, Any]) -> tuple[Canary, ...]:
    return tuple(Canary.of(one["label_ids"], one["scores"]) for one in report["canaries"])


def _task(batches: Iterator[pa.RecordBatch], plan: ScoringPlan) -> Iterator[pa.RecordBatch]:
    """Run the task of one slot. It reads all its input and never raises: only then does Spark reuse the worker."""
    count = sum(batch.num_rows for batch in batches)
    yield pa.RecordBatch.from_pylist([{"report": json.dumps(_report(plan))}] * min(count, 1), schema=_SCHEMA)


def _report(plan: ScoringPlan) -> dict[str, object]:
    try:
        network = pipeline.network(pipeline.in_task(plan))
    except WindrowError as error:
        return {"error": str(error), "user_error": isinstance(error, UserError)}
    except Exception as error:  # reported to the driver, which raises an error for it
        traceback.print_exc()
        reason = f"{type(error).__name__}: {graph_errors.reason(str(error))}"
        return {"error": f"a worker must load the network; got {reason}; see its log", "user_error": False}
    return {
        "host": socket.gethostname(),
        "shape": network.shape,
        "classes": network.classes,
        "takes_bytes": network.takes_bytes,
        "canaries": [canary.plain() for canary in network.canaries],
    }
