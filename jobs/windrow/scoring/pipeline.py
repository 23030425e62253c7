"""Turn URLs into predictions inside Spark's mapInArrow, so that pixels never pass through the JVM.

The main thread decodes and runs the network while a second thread downloads ahead (see fetch/downloads.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from windrow.channel import Address
from windrow.model.network import Network
from windrow.scoring import partitioning, progress
from windrow.scoring.deduplication import Duplicates
from windrow.scoring.fetch.byte_cache import ByteCache
from windrow.scoring.fetch.downloads import Downloads
from windrow.scoring.fetch.fetcher import Fetched, FetchPolicy
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target
from windrow.scoring.network import predict
from windrow.scoring.network.pixels import DecodedImage, as_jpeg, decode
from windrow.scoring.network.unpacking import unpacked
from windrow.scoring.report.album import Album, AlbumPage
from windrow.scoring.table.deciding import NO_KEYS, DecidingKeys
from windrow.scoring.table.prediction import SCHEMA, Patience, Prediction, Stamp, record_batch

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from windrow.model.precision_loss import PrecisionLoss

_ROWS_PER_RECORD_BATCH = 1024
_Waiting = list[tuple[Prediction, NDArray[np.uint8]]]
_Image = NDArray[np.uint8] | bytes


@dataclass(frozen=True)
class ScoringPlan:
    """Everything that a task needs to know. It is small, because Spark sends it with each task.

    Attributes:
        model: the network; its `file` is the name under which `planning.ship` sent it.
        stamp: the fields that all rows share.
        fetch: how hosts are contacted.
        top_k: labels per image.
        batch_size: images that the network labels in one step.
        max_pixels: the most pixels that an image may have, by the size in its header.
        patience: when a URL is tried again.
        keys: the page's values of the keys that can decide a row; a row remembers those that decided it.
        precision: what the network loses at a lower precision, see low_precision.py; None if it was not converted.
        threads: number of cores per task.
        cache: where downloaded bytes of this and earlier runs are stored; None if the page does not cache them.
        progress: the address that tasks report their progress to; None for no reports.
        album: where tasks put pictures for the gallery; None if the run has no gallery.
    """

    model: Network
    stamp: Stamp
    fetch: FetchPolicy
    top_k: int
    batch_size: int
    max_pixels: int
    patience: Patience
    keys: DecidingKeys = NO_KEYS
    precision: PrecisionLoss | None = None
    threads: int = 1
    cache: ByteCache | None = None
    progress: Address | None = None
    album: Album | None = None


def score(targets: DataFrame, urls_in_all: int, plan: ScoringPlan, partitions: int) -> DataFrame:
    """Download and label URLs in Spark tasks; return one prediction per URL, in the columns of SCHEMA.

    The URLs are partitioned by host, so that the page's limits per host hold over all tasks; see partitioning.py.

    Args:
        targets: the URLs, with the columns of urls.Target.
        urls_in_all: the number of rows of `targets`.
        plan: the run's plan.
        partitions: the number of tasks.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    divided, sharing = partitioning.divide(targets, urls_in_all, partitions, plan.fetch.host_concurrency)
    cache = plan.cache.share(partitions) if plan.cache else None
    plan = replace(plan, fetch=replace(plan.fetch, sharing=sharing), cache=cache)
    return divided.mapInArrow(partial(_task, plan=plan), from_arrow_schema(SCHEMA))


def _task(batches: Iterator[pa.RecordBatch], plan: ScoringPlan) -> Iterator[pa.RecordBatch]:
    """Run one Spark task. It reads all its input, and no URL makes it raise: only then does Spark reuse the worker."""
    from pyspark import TaskContext

    plan, context = in_task(plan), TaskContext.get()
    task, attempt = plan.fetch.sharing.task, context.taskAttemptId() if context else 0
    targets = (Target(**columns) for batch in batches for columns in batch.to_pylist())
    pictures = plan.album.page() if plan.album else None
    downloads = Downloads(plan.fetch)
    rows = predictions(targets, plan, pictures, downloads)
    rows = progress.reported(rows, plan.progress, task, attempt, lambda: downloads.seconds_left)
    yield from _record_batches(rows, plan)
    if pictures:
        pictures.write(task)


def in_task(plan: ScoringPlan) -> ScoringPlan:
    """Add to a plan what only a task knows: its number, its cores, and the path of the network's file on its host."""
    from pyspark import SparkFiles, TaskContext

    context = TaskContext.get()
    task = context.partitionId() if context else 0
    return replace(
        plan,
        fetch=replace(plan.fetch, sharing=replace(plan.fetch.sharing, task=task)),
        model=replace(plan.model, file=unpacked(Path(SparkFiles.get(str(plan.model.file))))),
        threads=context.cpus() if context else plan.threads,
    )


def _record_batches(rows: Iterable[Prediction], plan: ScoringPlan) -> Iterator[pa.RecordBatch]:
    pending: list[Prediction] = []
    for row in rows:
        pending.append(row)
        if len(pending) == _ROWS_PER_RECORD_BATCH:
            yield record_batch(pending, plan.patience, plan.keys)
            pending = []
    if pending:
        yield record_batch(pending, plan.patience, plan.keys)


def predictions(
    targets: Iterable[Target],
    plan: ScoringPlan,
    pictures: AlbumPage | None = None,
    downloads: Downloads | None = None,
) -> Iterator[Prediction]:
    """Download and label targets; yield one row per target, in the order in which they finish.

    Args:
        targets: the URLs.
        plan: the run's plan.
        pictures: the task's part of the album, which is offered every labelled image; None without a gallery.
        downloads: of the plan's policy, not entered yet; None for new ones.
    """
    with downloads or Downloads(plan.fetch) as entered:
        fetched = entered.stream(_loading_first(targets, partial(network, plan)), plan.cache)
        yield from labelled(fetched, plan, pictures)


def labelled(
    fetched: Iterable[tuple[Target, Fetched | None]], plan: ScoringPlan, pictures: AlbumPage | None = None
) -> Iterator[Prediction]:
    """Label downloads; yield one row per target, in the order in which they finish.

    Batches of images are independent of the record batches that the targets arrived in.
    """
    waiting: _Waiting = []
    duplicates = Duplicates()
    for target, download in fetched:
        row = Prediction.of(target, download, plan.stamp)
        if download is None or download.status is not Status.OK:
            yield row
        elif duplicate := duplicates.find(row):
            yield duplicate
        elif not duplicates.waits(row):
            row, image = _decoded(row, download.content, plan)
            if image is None:
                yield from duplicates.finished(row)
            elif isinstance(image, bytes):
                yield from duplicates.finished(_labelled_alone(row, image, network(plan), plan, pictures))
            else:
                waiting.append((row, image))
        if len(waiting) == plan.batch_size:
            yield from _labelled(waiting, plan, duplicates, pictures)
            waiting = []
    if waiting:
        yield from _labelled(waiting, plan, duplicates, pictures)


def network(plan: ScoringPlan) -> predict.LoadedNetwork:
    """Return the plan's network, which this process loads only once."""
    model = plan.model
    steps = plan.batch_size, plan.top_k, plan.threads
    return predict.load(model.file, model.digest, model.shape, *steps, model.form, model.canaries)


def _loading_first(targets: Iterable[Target], load: Callable[[], object]) -> Iterator[Target]:
    """Yield targets, and call `load` before the first target that has an address, if there is one.

    TensorFlow's import holds Python's global lock for seconds at a time; downloads at the same time would miss their
    deadlines.
    """
    loaded = False
    for target in targets:
        if target.address is not None and not loaded:
            load()
            loaded = True
        yield target


def _decoded(row: Prediction, content: bytes, plan: ScoringPlan) -> tuple[Prediction, _Image | None]:
    """Decode a download, and cache its bytes if they are an image.

    Returns:
        The row with the image's size or the reason why decoding failed; and the image in the form that the network
        takes, pixels or a JPEG file's bytes, or None if it can't be decoded.
    """
    image = _image(content, plan.model, plan.max_pixels)
    if plan.cache is not None and row.content_hash and image.status is Status.OK:
        plan.cache.put(row.content_hash, content)
    return row.with_image(image), image.jpeg if image.pixels is None else image.pixels


def _image(content: bytes, model: Network, max_pixels: int) -> DecodedImage:
    if model.takes_bytes or model.shape is None:
        return as_jpeg(content, max_pixels)
    return decode(content, model.shape, max_pixels, model.form.resize)


def _labelled_alone(
    row: Prediction, jpeg: bytes, network: predict.LoadedNetwork, plan: ScoringPlan, pictures: AlbumPage | None
) -> Prediction:
    """Label one image with a network that decodes the file itself. If it can't, the status is broken_image."""
    started = time.perf_counter()
    try:
        ids, scores = network.label_bytes(jpeg)
    except predict.BadImageError as error:
        return replace(row, status=Status.BROKEN_IMAGE, error=str(error))
    milliseconds = (time.perf_counter() - started) * 1000
    labelled = row.with_labels(ids[0].tolist(), scores[0].tolist(), plan.model.labels, milliseconds)
    if pictures:
        pictures.offer(labelled, jpeg)
    return labelled


def _labelled(
    waiting: _Waiting, plan: ScoringPlan, duplicates: Duplicates, pictures: AlbumPage | None
) -> Iterator[Prediction]:
    """Label a batch; yield its rows and their duplicates. Each image's time is an equal share of the batch's time."""
    started = time.perf_counter()
    ids, scores = network(plan).label(np.stack([pixels for _, pixels in waiting]))
    milliseconds = (time.perf_counter() - started) * 1000 / len(waiting)
    for (row, pixels), best, values in zip(waiting, ids.tolist(), scores.tolist(), strict=True):
        labelled = row.with_labels(best, values, plan.model.labels, milliseconds)
        if pictures:
            pictures.offer(labelled, pixels)
        yield from duplicates.finished(labelled)
