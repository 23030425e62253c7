"""Download URLs in Spark tasks and keep their images, with scoring's manners and limits.

The URLs are divided by host as those of a scoring run, so the page's limits hold over all tasks. Nothing but counts
goes back through Spark: the bytes and the tries are in the store, which all hosts see under the same path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

import pyarrow as pa

from windrow.channel import Address
from windrow.scoring import partitioning, progress
from windrow.scoring.fetch.downloads import Downloads
from windrow.scoring.fetch.fetcher import Fetched, FetchPolicy
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target
from windrow.scoring.labelled.image_store import ImageStore, Try
from windrow.scoring.network.pixels import looked_at
from windrow.scoring.table.deciding import DecidingKeys
from windrow.scoring.table.prediction import Patience

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from windrow.experiment import ScoringSection

_URLS_A_TASK = 64
_COUNTS = "status string, urls long"


@dataclass(frozen=True)
class DownloadPlan:
    """Everything that a task needs to know; `progress` is the address for its reports, None for none."""

    store: ImageStore
    fetch: FetchPolicy
    patience: Patience
    keys: DecidingKeys
    max_pixels: int
    progress: Address | None = None

    @classmethod
    def of(cls, section: ScoringSection, store: ImageStore) -> DownloadPlan:
        """Return the plan for a page's scoring section."""
        patience = Patience(section.attempts, section.retry_hours)
        return cls(store, FetchPolicy.of(section), patience, DecidingKeys.of(section), section.max_pixels)


def download(spark: SparkSession, targets: pa.Table, plan: DownloadPlan) -> Counter[str]:
    """Download every URL, keep the images and the tries in the plan's store, and return the URLs by status.

    Args:
        spark: the session.
        targets: the URLs, with the columns of urls.Target; each has an address.
        plan: the plan.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    slots = spark.sparkContext.defaultParallelism
    tasks = max(1, min(slots, -(-targets.num_rows // _URLS_A_TASK)))
    with progress.shown(spark, targets.num_rows) as address:
        frame = spark.createDataFrame(targets, from_arrow_schema(targets.schema))
        counts = _downloaded(frame, targets.num_rows, replace(plan, progress=address), tasks).collect()
    found: Counter[str] = Counter()
    for row in counts:
        found[row["status"]] += row["urls"]
    return found


def _downloaded(targets: DataFrame, count: int, plan: DownloadPlan, tasks: int) -> DataFrame:
    divided, sharing = partitioning.divide(targets, count, tasks, plan.fetch.host_concurrency)
    plan = replace(plan, fetch=replace(plan.fetch, sharing=sharing))
    return divided.mapInArrow(partial(_task, plan=plan), _COUNTS)


def _task(batches: Iterator[pa.RecordBatch], plan: DownloadPlan) -> Iterator[pa.RecordBatch]:
    """Run one Spark task; yield its counts by status."""
    from pyspark import TaskContext

    context = TaskContext.get()
    task, attempt = (context.partitionId(), context.taskAttemptId()) if context else (0, 0)
    fetch = replace(plan.fetch, sharing=replace(plan.fetch.sharing, task=task))
    targets = (Target(**columns) for batch in batches for columns in batch.to_pylist())
    counts: Counter[str] = Counter()
    with plan.store.tries_of(task, attempt).open("w", buffering=1) as file, Downloads(fetch) as downloads:
        tries = (kept(target, fetched, plan) for target, fetched in downloads.stream(targets) if fetched)
        for each in progress.reported(tries, plan.progress, task, attempt, lambda: downloads.seconds_left):
            file.write(each.to_line())  # at once: whatever ends the task loses no image
            counts[each.status] += 1
    yield pa.RecordBatch.from_pydict({"status": [str(status) for status in counts], "urls": list(counts.values())})


def kept(target: Target, fetched: Fetched, plan: DownloadPlan) -> Try:
    """Keep a download's bytes if they are an image within the page's limits; return how the try ended."""
    status, error, content_hash = fetched.status, fetched.error, None
    if status is Status.OK:
        image = looked_at(fetched.content, plan.max_pixels)
        status, error = image.status, image.error
    if status is Status.OK:
        content_hash = sha256(fetched.content).hexdigest()
        plan.store.images.put(content_hash, fetched.content)
    now, attempt = datetime.now(UTC), target.attempt + 1
    due = plan.patience.next_attempt(status, attempt, now, fetched.next_attempt)
    return Try(
        target.url_key,
        status,
        now.isoformat(),
        attempt,
        content_hash,
        error,
        due.isoformat() if due else None,
        plan.keys.decided_by(status, final=due is None),
        fetched.usage,
    )
