"""Compute the features that the cache lacks, in Spark jobs of one task that run side by side.

Each job's features are written to the cache as they come, so a driver that is killed loses the running ones only.
"""

from __future__ import annotations

import sys
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from windrow import files
from windrow import spark as sessions
from windrow.data import shards
from windrow.data.features import embed_worker, feature_files
from windrow.data.features.embed_worker import BATCH, Embedded, EmbedTask
from windrow.data.features.feature_cache import FeatureCache, Keys
from windrow.data.manifest import Manifest
from windrow.data.shards import split_files
from windrow.data.splits import Split, StoredFit
from windrow.errors import UserError, WindrowError
from windrow.experiment.wording import time_left
from windrow.model.backbone import Backbone
from windrow.plural import counted

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MOST_PER_JOB = 16 * BATCH
"""Views that a Spark job computes: some seconds of work, of which a kill loses one share per slot."""
_PRINT_SECONDS = 15.0


@dataclass(frozen=True, eq=False)
class Absent:
    """Views of one split that the cache lacks.

    Attributes:
        split: the split.
        indices: index of each view's image, int64 (n,).
        numbers: number of each view, uint8 (n,).
        keys: their names in the cache.
        images: name of the file with their images that was sent to executors; "" before.
        fit: name under which the images are stored, from Manifest.stored.
    """

    split: Split
    indices: np.ndarray[tuple[int], np.dtype[np.int64]]
    numbers: np.ndarray[tuple[int], np.dtype[np.uint8]]
    keys: Keys
    images: str = ""
    fit: StoredFit = None

    def __len__(self) -> int:
        return len(self.keys)

    def part(self, start: int, end: int) -> Absent:
        """Return the views from `start` to `end`, which is not included."""
        chosen = slice(start, end)
        return replace(self, indices=self.indices[chosen], numbers=self.numbers[chosen], keys=self.keys[chosen])


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


def absent(folder: Path, manifest: Manifest, cache: FeatureCache, number: int) -> list[Absent]:
    """List the views that the cache lacks, by split; a training image has `number` views, and others have one.

    Images with the same pixels are listed once.
    """
    found, listed = [], np.empty(0, "S17")
    every = feature_files.in_splits(number).items()
    for split, count, fit in ((*each, fit) for fit in manifest.stored for each in every):
        names = feature_files.view_keys(folder, split, count, fit)
        _, first = np.unique(names, return_index=True)
        missing = np.zeros(len(names), bool)
        missing[first] = True
        missing &= ~cache.holds(names) & ~np.isin(names, listed)
        places = np.flatnonzero(missing)
        if len(places):
            numbers = (places % count).astype(np.uint8)
            found.append(Absent(split, places // count, numbers, names[places], fit=fit))
            listed = np.concatenate([listed, names[places]])
    return found


def parts(wanted: list[Absent], slots: int) -> list[Absent]:
    """Divide views into Spark jobs of nearly the same size, a multiple of the slots where that is possible."""
    found = []
    for each in wanted:
        rounds = -(-len(each) // (slots * MOST_PER_JOB))
        count = min(len(each), slots * rounds)
        edges = [len(each) * number // count for number in range(count + 1)]
        found += [each.part(start, end) for start, end in pairwise(edges)]
    return found


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
        wanted: what to compute, from `absent`.

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

    def one(part: Absent) -> Embedded:
        task = EmbedTask(part.images, shipped, tuple(part.indices.tolist()), tuple(part.numbers.tolist()), cores)
        done = _run(spark, task, tag, f"features of {counted(len(part), 'image')} of {part.split}")
        _check(done)
        values = np.frombuffer(done.values, np.float16).reshape(len(part), backbone.features)
        cache.add(part.keys, values)
        return done

    tag = f"features-{uuid4()}"
    divided, started = parts(sent, slots), monotonic()
    _load(spark, EmbedTask("", shipped, (), (), cores), min(slots, len(divided)))
    loading, started = monotonic() - started, monotonic()
    # Twice as many jobs as slots: a slot gets the next one while the driver writes the features of the last.
    pool = ThreadPoolExecutor(2 * slots, "features")
    try:
        jobs = {pool.submit(one, part): len(part) for part in divided}
        busy = _await(jobs, total, started)
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
    chunks = (images[needed[at : at + MOST_PER_JOB]] for at in range(0, len(needed), MOST_PER_JOB))
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


def _await(jobs: dict[Future[Embedded], int], total: int, started: float) -> float:
    """Wait for all jobs, print how far they are, and return the workers' seconds; the first error is raised."""
    busy, done, printed, running = 0.0, 0, 0.0, set(jobs)
    while running:
        ended, running = wait(running, timeout=_PRINT_SECONDS, return_when=FIRST_COMPLETED)
        busy += sum(job.result().seconds for job in ended)
        done += sum(jobs[job] for job in ended)
        if ended and (not running or monotonic() - printed >= _PRINT_SECONDS):
            printed, seconds = monotonic(), monotonic() - started
            left = f"; {time_left((total - done) * seconds / done)}" if running else ""
            print(
                f"[{done:,}/{total:,}] features; {done / max(seconds, 0.001):.1f} images a second{left}",
                file=sys.stderr,
                flush=True,
            )
    return busy
