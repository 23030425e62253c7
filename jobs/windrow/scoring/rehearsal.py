"""Before the first image is asked for: every slot loads the network, and the driver hears what it is.

A network that can't be used is found here, and the job ends with a sentence instead of a failed Spark stage. The
workers stay warm: the tasks that follow find TensorFlow imported and the network loaded. What the first slot gives for
the canaries holds for all others, unless the registry has recorded it.
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
from windrow.scoring.network import labels
from windrow.scoring.pipeline import ScoringPlan

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SCHEMA = pa.schema([("told", pa.string())])


def rehearse(spark: SparkSession, plan: ScoringPlan, tasks: int) -> ScoringPlan:
    """The plan with what the network itself says: its shape, whether it decodes by itself, and its canaries.

    Raises:
        UserError: the file is no network that can label, or does not fit what is said of it.
        WindrowError: workers label differently.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    slots = spark.range(tasks, numPartitions=tasks)
    heard = slots.mapInArrow(partial(_task, plan=plan), from_arrow_schema(_SCHEMA)).collect()
    told = [json.loads(row["told"]) for row in heard]
    for answer in told:
        if "error" in answer:
            raise (UserError if answer["mendable"] else WindrowError)(answer["error"])
    first = told[0]
    expected = plan.model.canaries or _canaries(first)
    for answer in told:
        canaries.check(_canaries(answer), expected, answer["host"])
    model = replace(
        plan.model,
        shape=first["shape"] and tuple(first["shape"]),
        takes_bytes=first["takes_bytes"],
        labels=labels.fit(plan.model.labels, first["classes"], plan.model.open_ended),
        canaries=expected,
    )
    return replace(plan, model=model)


def _canaries(answer: dict[str, Any]) -> tuple[Canary, ...]:
    return tuple(Canary.of(one["label_ids"], one["scores"]) for one in answer["canaries"])


def _task(batches: Iterator[pa.RecordBatch], plan: ScoringPlan) -> Iterator[pa.RecordBatch]:
    """What a slot says. It drains its input and does not raise, so that its worker is used again."""
    count = sum(batch.num_rows for batch in batches)
    yield pa.RecordBatch.from_pylist([{"told": json.dumps(_told(plan))}] * min(count, 1), schema=_SCHEMA)


def _told(plan: ScoringPlan) -> dict[str, Any]:
    try:
        network = pipeline.network(pipeline.in_task(plan))
    except WindrowError as error:
        return {"error": str(error), "mendable": isinstance(error, UserError)}
    except Exception as error:  # the fault boundary of a slot: the driver raises it again
        traceback.print_exc()
        return {"error": f"a worker must load the network; got {error!r}; see its log", "mendable": False}
    return {
        "host": socket.gethostname(),
        "shape": network.shape,
        "classes": network.classes,
        "takes_bytes": network.takes_bytes,
        "canaries": [canary.plain() for canary in network.canaries],
    }
