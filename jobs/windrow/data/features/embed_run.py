"""Compute the features that the cache lacks, in Spark jobs of one task that run side by side.

Each job's features are written to the cache as they come, so a driver that is killed loses the running ones only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from windrow import files
from windrow import spark as sessions
from windrow.data import shards
from windrow.data.features import embed_worker
from windrow.data.features.absent_views import Absent, Portions
from windrow.data.features.embed_worker import BATCH, Embedded, EmbedTask, SentViews
from windrow.data.features.feature_cache import FeatureCache
from windrow.data.manifest import Manifest
from windrow.data.shards import split_files
from windrow.errors import UserError, WindrowError
from windrow.experiment.wording import time_left
from windrow.model.backbone import Backbone
from windrow.plural import counted

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PRINT_SECONDS = 15.0
_COPIED = 256  # images that are copied at once


@dataclass(frozen=True)
class Pace:
    """How fast features were computed.

    Attributes:
        computed: views of images that were computed.
        slots: Spark's slots.
        seconds: wall clock, from the moment when every slot has its backbone to the end of the last Spark job.
        busy_seconds: seconds of the workers for views and features, without loading the backbone.
        loading_seconds: wall clock before that, for the workers' start, TensorFlow's import and the backbone.
    """

    computed: int = 0
    slots: int = 0
    seconds: float = 0.0
    busy_seconds: float = 0.0
    loading_seconds: float = 0.0

    def __add__(self, later: Pace) -> Pace:
        return Pace(
            self.computed + later.computed,
            later.slots,
            self.seconds + later.seconds,
            self.busy_seconds + later.busy_seconds,
            self.loading_seconds + later.loading_seconds,
        )

    def figures(self) -> dict[str, float | None]:
        """Return views a second, what the slots could compute if they did nothing else, and the share of that."""
        rate = self.computed / self.seconds if self.seconds else None
        ceiling = self.slots * self.computed / self.busy_seconds if self.busy_seconds else None
        share = rate / ceiling if rate and ceiling else None
        return {
            "images_per_second": rate and round(rate, 1),
            "ceiling_images_per_second": ceiling and round(ceiling, 1),
            "share_of_ceiling": share and round(share, 3),
            "loading_seconds": round(self.loading_seconds, 1),
        }


def compute(
    spark: SparkSession, folder: Path, manifest: Manifest, backbone: Backbone, cache: FeatureCache, wanted: list[Absent]
) -> Pace:
    """Compute views, add them to the cache, and print the progress to standard error.

    Args:
        spark: the session.
        folder: the folder of the data set.
        manifest: its manifest.
        backbone: the backbone.
        cache: where the features are stored.
        wanted: what to compute, from absent_views.find.

    Raises:
        UserError: the backbone can't be used.
        ServiceError: the disk of the cache or of the data set is full. What was added before stays.
    """
    context = spark.sparkContext
    cores = int(context.getConf().get("spark.task.cpus", "1") or 1)
    slots = max(1, context.defaultParallelism // cores)
    total = sum(map(len, wanted))
    name = f"{backbone.digest}.keras"
    sessions.ship_file(spark, backbone.file, name)
    shipped = replace(backbone, file=Path(name))
    sent = [_send(spark, folder, manifest, each) for each in wanted]

    def one(portion: list[Absent]) -> Embedded:
        views = tuple(
            SentViews(part.images, tuple(part.indices.tolist()), tuple(part.numbers.tolist())) for part in portion
        )
        keys = np.concatenate([part.keys for part in portion])
        done = _run(spark, EmbedTask(shipped, views, cores), tag, f"features of {counted(len(keys), 'view')}")
        _check(done)
        cache.add(keys, np.frombuffer(done.values, np.float16).reshape(len(keys), backbone.features))
        return done

    tag, started = f"features-{uuid4()}", monotonic()
    _load(spark, EmbedTask(shipped, threads=cores), min(slots, -(-total // BATCH)))
    loading, started = monotonic() - started, monotonic()
    # Twice as many jobs as slots: a slot gets the next one while the driver writes the features of the last.
    pool = ThreadPoolExecutor(2 * slots, "features")
    try:
        busy = _compute_all(Portions(sent, slots), lambda portion: pool.submit(one, portion), 2 * slots, total)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        context.cancelJobsWithTag(tag)  # after an error, others may run; their features are not needed
        pool.shutdown()
    return Pace(total, slots, monotonic() - started, busy, loading)


def _load(spark: SparkSession, task: EmbedTask, slots: int) -> None:
    """Load the backbone in as many workers at once, so that the pace is that of the features alone."""
    context = spark.sparkContext
    context.setJobDescription(f"load {task.backbone.name}")
    for done in context.parallelize(range(slots), slots).map(lambda _: embed_worker.run(task)).collect():
        _check(done)


def _check(done: Embedded) -> None:
    if done.error:
        raise UserError(done.error) if done.fixable else WindrowError(done.error)


def _send(spark: SparkSession, folder: Path, manifest: Manifest, views: Absent) -> Absent:
    """Send the images of views to every executor: the whole split, or only these images if they are at most half.

    Of a split of 100,000 photographs with 100 new ones, 15 MB are sent to each executor, and not 15 GB.

    Returns:
        The views, with the name of the file that was sent, and indices into its images.
    """
    whole, _ = split_files(folder, views.split, fit=views.fit)
    needed, places = np.unique(views.indices, return_inverse=True)
    if 2 * len(needed) > manifest.splits[views.split]:
        name = f"{manifest.digest}-{whole.name}"
        sessions.ship_file(spark, whole, name)
        return replace(views, images=name)
    images = shards.open_array(whole, "r")
    chunks = (images[needed[at : at + _COPIED]] for at in range(0, len(needed), _COPIED))
    with files.clear_when_full(folder), shards.aside_of(folder) as aside:
        shape = (len(needed), *images.shape[1:])
        digest, _ = shards.write_chunks(aside / whole.name, images.dtype, shape, chunks)
        name = f"{digest}-{whole.name}"
        sessions.ship_file(spark, aside / whole.name, name)
    return replace(views, images=name, indices=places.astype(np.int64))


def _run(spark: SparkSession, task: EmbedTask, tag: str, description: str) -> Embedded:
    context = spark.sparkContext
    context.addJobTag(tag)  # belongs to this thread
    context.setJobDescription(description)
    (done,) = context.parallelize([task], 1).map(embed_worker.run).collect()
    return done


def _compute_all(
    portions: Portions, submit: Callable[[list[Absent]], Future[Embedded]], most: int, total: int
) -> float:
    """Keep `most` portions submitted until all are computed, and print how far they are.

    Returns:
        The workers' seconds. The first error is raised.
    """
    running: dict[Future[Embedded], int] = {}
    busy, done, started, printed = 0.0, 0, monotonic(), 0.0
    while True:
        while len(running) < most and (portion := portions.take()):
            running[submit(portion)] = sum(map(len, portion))
        if not running:
            return busy
        ended, _ = wait(running, timeout=_PRINT_SECONDS, return_when=FIRST_COMPLETED)
        for job in ended:
            views, seconds = running.pop(job), job.result().seconds
            portions.note(views, seconds)
            busy, done = busy + seconds, done + views
        if ended and (done == total or monotonic() - printed >= _PRINT_SECONDS):
            printed, spent = monotonic(), monotonic() - started
            left = f"; {time_left((total - done) * spent / done)}" if done < total else ""
            print(
                f"[{done:,}/{total:,}] features; {done / max(spent, 0.001):.1f} images a second{left}",
                file=sys.stderr,
                flush=True,
            )
