"""One pass inside an Arrow iterator: URLs in, predictions out; pixels never cross the JVM.

The main thread decodes and runs the network while a second one downloads ahead (see downloads.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from windrow.channel import Address
from windrow.scoring import division, predict, prediction, progress
from windrow.scoring.album import Album, AlbumPage
from windrow.scoring.decode import decode
from windrow.scoring.downloads import Downloads
from windrow.scoring.fetch import Fetched, FetchPolicy
from windrow.scoring.kept import KeptBytes
from windrow.scoring.prediction import Patience, Row, Stamp
from windrow.scoring.status import Status
from windrow.scoring.urls import Target

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ROWS_A_RECORD_BATCH = 1024
_Waiting = list[tuple[Row, NDArray[np.uint8]]]


@dataclass(frozen=True)
class Model:
    """The pinned network as executors need it. `file` is the name under which Spark shipped it, or a path."""

    file: str
    digest: str
    shape: tuple[int, int, int]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that a pass needs to know; small, it travels with each task."""

    model: Model
    stamp: Stamp
    fetch: FetchPolicy
    top_k: int = 3
    batch_size: int = 64
    max_pixels: int = 40_000_000
    threads: int = 1
    patience: Patience = field(default_factory=Patience)
    kept: KeptBytes | None = None
    progress: Address | None = None
    album: Album | None = None


def score(targets: DataFrame, plan: Plan, partitions: int) -> DataFrame:
    """Predictions for `targets` (the columns of urls.Target) in `partitions` tasks, exactly one row each.

    Which task asks which host is decided here, so that no host is asked more often than the page says: see division.py.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    divided, sharing = division.divide(targets, partitions, plan.fetch.host_concurrency)
    kept = plan.kept.share(partitions) if plan.kept else None
    plan = replace(plan, fetch=replace(plan.fetch, sharing=sharing), kept=kept)
    return divided.mapInArrow(partial(_task, plan=plan), from_arrow_schema(prediction.SCHEMA))


def _task(batches: Iterator[pa.RecordBatch], plan: Plan) -> Iterator[pa.RecordBatch]:
    """What a Spark task runs. It drains its input and raises for no URL, so that its worker is used again."""
    from pyspark import SparkFiles, TaskContext

    context = TaskContext.get()
    task = context.partitionId() if context else 0
    plan = replace(
        plan,
        fetch=replace(plan.fetch, sharing=replace(plan.fetch.sharing, task=task)),
        model=replace(plan.model, file=SparkFiles.get(plan.model.file)),
        threads=context.cpus() if context else plan.threads,
    )
    targets = (Target(**columns) for batch in batches for columns in batch.to_pylist())
    attempt = context.taskAttemptId() if context else 0
    pictures = plan.album.page() if plan.album else None
    rows = progress.told(predictions(targets, plan, pictures), plan.progress, task, attempt)
    yield from _record_batches(rows, plan.patience)
    if pictures:
        pictures.write(task)


def _record_batches(rows: Iterable[Row], patience: Patience) -> Iterator[pa.RecordBatch]:
    pending: list[Row] = []
    for row in rows:
        pending.append(row)
        if len(pending) == _ROWS_A_RECORD_BATCH:
            yield prediction.record_batch(pending, patience)
            pending = []
    if pending:
        yield prediction.record_batch(pending, patience)


def predictions(targets: Iterable[Target], plan: Plan, pictures: AlbumPage | None = None) -> Iterator[Row]:
    """One row a target, in the order they are done. Batches of images span whatever batches the targets came in.

    `pictures` is offered every labelled one.
    """
    network = partial(_network, plan)
    waiting: _Waiting = []
    with Downloads(plan.fetch) as downloads:
        for target, fetched in downloads.stream(_loading_first(targets, network), plan.kept):
            row, pixels = _decoded(target, fetched, plan)
            if pixels is None:
                yield row
                continue
            waiting.append((row, pixels))
            if len(waiting) == plan.batch_size:
                yield from _labelled(waiting, network(), plan, pictures)
                waiting = []
        if waiting:
            yield from _labelled(waiting, network(), plan, pictures)


def _network(plan: Plan) -> predict.Network:
    model = plan.model
    return predict.load(Path(model.file), model.digest, model.shape, plan.batch_size, plan.top_k, plan.threads)


def _loading_first(targets: Iterable[Target], network: Callable[[], object]) -> Iterator[Target]:
    """Load the network before the first download: TensorFlow's import holds Python's lock for seconds at a time,
    and downloads that ran beside it would miss their deadlines. A task with nothing to ask does not load it."""
    for target in targets:
        if target.address is not None:
            network()
        yield target


def _decoded(target: Target, fetched: Fetched | None, plan: Plan) -> tuple[Row, NDArray[np.uint8] | None]:
    """A target's row so far, and its pixels if it has got any."""
    if fetched is None or fetched.status is not Status.OK:
        return prediction.row(target, fetched, None, plan.stamp), None
    decoded = decode(fetched.content, plan.model.shape, plan.max_pixels)
    row = prediction.row(target, fetched, decoded, plan.stamp)
    if plan.kept is not None and decoded.pixels is not None:
        plan.kept.put(row["content_hash"], fetched.content)
    return row, decoded.pixels


def _labelled(waiting: _Waiting, network: predict.Network, plan: Plan, pictures: AlbumPage | None) -> Iterator[Row]:
    started = time.perf_counter()
    ids, scores = network.label(np.stack([pixels for _, pixels in waiting]))
    share: dict[str, Any] = {"predict_ms": (time.perf_counter() - started) * 1000 / len(waiting)}
    for (row, pixels), best, values in zip(waiting, ids.tolist(), scores.tolist(), strict=True):
        labelled = {**row, **share, **prediction.ranked(best, values, plan.model.labels)}
        if pictures:
            pictures.offer(labelled, pixels)
        yield labelled
