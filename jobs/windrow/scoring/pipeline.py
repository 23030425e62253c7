"""One pass inside an Arrow iterator: URLs in, predictions out; pixels never cross the JVM.

The main thread decodes and runs the network while a second one downloads ahead (see downloads.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from windrow.channel import Address
from windrow.model.network import Network
from windrow.scoring import partitioning, progress
from windrow.scoring.deduplication import Twins
from windrow.scoring.fetch.byte_cache import KeptBytes
from windrow.scoring.fetch.downloads import Downloads
from windrow.scoring.fetch.fetcher import Fetched, FetchPolicy
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target
from windrow.scoring.network import predict
from windrow.scoring.network.pixels import Decoded, as_jpeg, decode
from windrow.scoring.network.unpacking import unpacked
from windrow.scoring.report.album import Album, AlbumPage
from windrow.scoring.table import prediction
from windrow.scoring.table.prediction import Patience, Row, Stamp

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ROWS_A_RECORD_BATCH = 1024
_Waiting = list[tuple[Row, NDArray[np.uint8]]]
_Image = NDArray[np.uint8] | bytes


@dataclass(frozen=True)
class Plan:
    """Everything that a pass needs to know; small, it travels with each task.

    `precision` is what precision.py says of a network at a lower one; None for a network as it is.
    """

    model: Network
    stamp: Stamp
    fetch: FetchPolicy
    precision: Mapping[str, Any] | None = None
    top_k: int = 3
    batch_size: int = 16
    max_pixels: int = 40_000_000
    threads: int = 1
    patience: Patience = field(default_factory=Patience)
    kept: KeptBytes | None = None
    progress: Address | None = None
    album: Album | None = None


def score(targets: DataFrame, urls_in_all: int, plan: Plan, partitions: int) -> DataFrame:
    """Predictions for the `urls_in_all` rows of `targets` (the columns of urls.Target) in `partitions` tasks, one each.

    Which task asks which host is decided here, so that no host is asked more often than the page says: see division.py.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    divided, sharing = partitioning.divide(targets, urls_in_all, partitions, plan.fetch.host_concurrency)
    kept = plan.kept.share(partitions) if plan.kept else None
    plan = replace(plan, fetch=replace(plan.fetch, sharing=sharing), kept=kept)
    return divided.mapInArrow(partial(_task, plan=plan), from_arrow_schema(prediction.SCHEMA))


def _task(batches: Iterator[pa.RecordBatch], plan: Plan) -> Iterator[pa.RecordBatch]:
    """What a Spark task runs. It drains its input and raises for no URL, so that its worker is used again."""
    from pyspark import TaskContext

    plan, context = in_task(plan), TaskContext.get()
    task, attempt = plan.fetch.sharing.task, context.taskAttemptId() if context else 0
    targets = (Target(**columns) for batch in batches for columns in batch.to_pylist())
    pictures = plan.album.page() if plan.album else None
    rows = progress.told(predictions(targets, plan, pictures), plan.progress, task, attempt)
    yield from _record_batches(rows, plan.patience)
    if pictures:
        pictures.write(task)


def in_task(plan: Plan) -> Plan:
    """The plan with what a Spark task finds where it runs: its number, its cores, and where the network's file lies."""
    from pyspark import SparkFiles, TaskContext

    context = TaskContext.get()
    task = context.partitionId() if context else 0
    return replace(
        plan,
        fetch=replace(plan.fetch, sharing=replace(plan.fetch.sharing, task=task)),
        model=replace(plan.model, file=unpacked(Path(SparkFiles.get(str(plan.model.file))))),
        threads=context.cpus() if context else plan.threads,
    )


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
    """One row a target, in the order they are done. `pictures` is offered every labelled one."""
    with Downloads(plan.fetch) as downloads:
        fetched = downloads.stream(_loading_first(targets, partial(network, plan)), plan.kept)
        yield from labelled(fetched, plan, pictures)


def labelled(
    fetched: Iterable[tuple[Target, Fetched | None]], plan: Plan, pictures: AlbumPage | None = None
) -> Iterator[Row]:
    """The same of what is downloaded. Batches of images span whatever batches the targets came in."""
    waiting: _Waiting = []
    twins = Twins()
    for target, download in fetched:
        row = prediction.row(target, download, plan.stamp)
        if download is None or download.status is not Status.OK:
            yield row
        elif twin := twins.of(row):
            yield twin
        elif not twins.waits(row):
            row, image = _decoded(row, download.content, plan)
            if image is None:
                yield from twins.ended(row)
            elif isinstance(image, bytes):
                yield from twins.ended(_labelled_alone(row, image, network(plan), plan, pictures))
            else:
                waiting.append((row, image))
        if len(waiting) == plan.batch_size:
            yield from _labelled(waiting, plan, twins, pictures)
            waiting = []
    if waiting:
        yield from _labelled(waiting, plan, twins, pictures)


def network(plan: Plan) -> predict.LoadedNetwork:
    """The plan's network in this process, loaded once."""
    model = plan.model
    steps = plan.batch_size, plan.top_k, plan.threads
    return predict.load(model.file, model.digest, model.shape, *steps, model.form, model.canaries)


def _loading_first(targets: Iterable[Target], load: Callable[[], object]) -> Iterator[Target]:
    """Load the network before the first download: TensorFlow's import holds Python's lock for seconds at a time,
    and downloads that ran beside it would miss their deadlines. A task with nothing to ask does not load it."""
    loaded = False
    for target in targets:
        if target.address is not None and not loaded:
            load()
            loaded = True
        yield target


def _decoded(row: Row, content: bytes, plan: Plan) -> tuple[Row, _Image | None]:
    """A downloaded row so far, and its image as the network takes it, if it is one."""
    decoded = _image(content, plan.model, plan.max_pixels)
    if plan.kept is not None and decoded.status is Status.OK:
        plan.kept.put(row["content_hash"], content)
    return {**row, **prediction.of_image(decoded)}, decoded.jpeg if decoded.pixels is None else decoded.pixels


def _image(content: bytes, model: Network, max_pixels: int) -> Decoded:
    if model.takes_bytes or model.shape is None:
        return as_jpeg(content, max_pixels)
    return decode(content, model.shape, max_pixels, model.form.resize)


def _labelled_alone(
    row: Row, jpeg: bytes, network: predict.LoadedNetwork, plan: Plan, pictures: AlbumPage | None
) -> Row:
    """The row of an image that the network decodes by itself. What it can't decode is broken, and fails no other."""
    started = time.perf_counter()
    try:
        ids, scores = network.label_bytes(jpeg)
    except predict.BadImageError as error:
        return {**row, "status": Status.BROKEN_IMAGE.value, "error": str(error)}
    taken = {"predict_ms": (time.perf_counter() - started) * 1000}
    labelled = {**row, **taken, **prediction.ranked(ids[0].tolist(), scores[0].tolist(), plan.model.labels)}
    if pictures:
        pictures.offer(labelled, jpeg)
    return labelled


def _labelled(waiting: _Waiting, plan: Plan, twins: Twins, pictures: AlbumPage | None) -> Iterator[Row]:
    started = time.perf_counter()
    ids, scores = network(plan).label(np.stack([pixels for _, pixels in waiting]))
    share: dict[str, Any] = {"predict_ms": (time.perf_counter() - started) * 1000 / len(waiting)}
    for (row, pixels), best, values in zip(waiting, ids.tolist(), scores.tolist(), strict=True):
        labelled = {**row, **share, **prediction.ranked(best, values, plan.model.labels)}
        if pictures:
            pictures.offer(labelled, pixels)
        yield from twins.ended(labelled)
