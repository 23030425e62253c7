"""Use Spark for a sweep: count slots, warm up workers, ship the data set's files, and run some trials per Spark job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.clusters import executors
from windrow.data import features, shards
from windrow.data.splits import Split
from windrow.errors import BuilderError, DatasetError, UserError
from windrow.spark import ship_file
from windrow.sweep import trial
from windrow.sweep.outcomes import Outcome
from windrow.sweep.spec import TrialSpec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment

DAEMON = "windrow.sweep.workers.daemon"
"""Name of the module that forks workers which have TensorFlow, for open_session."""
_COPIES = 4  # of a result in the driver's JVM, measured: as it arrives, as one value, and as it is passed on

Body = Callable[[Iterable[TrialSpec]], Iterator[Outcome]]


class WorkerLostError(Exception):
    """A job's worker or executor was lost, or the job was cancelled; the message gives the cause in one line."""


def slots(spark: SparkSession, task_cores: int, wanted: int | None) -> int:
    """Return how many trials can run at once: as many as Spark's cores allow, at least 1 and at most `wanted`.

    `wanted` is sweep.slots; None sets no limit.
    """
    offered = max(1, _cores(spark) // task_cores)
    return min(offered, wanted or offered)


def room_for_networks(spark: SparkSession, size: int) -> int:
    """Return how many trials may return a network at once.

    A task's result passes through the heap of the driver's JVM. With 1 GiB of it, sixteen networks of 17 MiB come
    through at once, and with sixteen of 82 MiB the JVM ends.

    Args:
        spark: the session.
        size: bytes of a network.

    Raises:
        UserError: not even one has room.
    """
    java: Any = spark.sparkContext._jvm
    heap = int(java.java.lang.Runtime.getRuntime().maxMemory())
    room = heap // (_COPIES * size)
    if not room:
        needed = -(-_COPIES * size >> 20)
        raise UserError(
            f"the driver's JVM must have {_COPIES} times the size of a network, {needed:,} MiB; got {heap >> 20:,}; "
            f"set spark.driver.memory to {-(-needed >> 10) + 1}g, or take a smaller backbone"
        )
    return room


def _cores(spark: SparkSession) -> int:
    """Count the cores of the registered executors, or of the most executors that dynamic allocation may start."""
    # Dynamic allocation adds executors only while jobs wait for them. A sweep that started only as many jobs as the
    # present executors can run would never get more.
    conf = spark.sparkContext.getConf()
    most = conf.get("spark.dynamicAllocation.maxExecutors")
    if executors.is_dynamic(spark) and most is not None:
        return int(most) * int(conf.get("spark.executor.cores") or 1)
    return spark.sparkContext.defaultParallelism


def gives_gpu(spark: SparkSession) -> bool:
    """Return whether Spark gives each task a GPU, or a share of one."""
    return float(spark.sparkContext.getConf().get("spark.task.resource.gpu.amount") or 0) > 0


def ship(spark: SparkSession, folder: Path, dataset: Manifest, *names: Split) -> None:
    """Send splits of a prepared data set to every executor; workers find them by `trial.shipped`.

    A second call in the same session sends nothing again.

    Args:
        spark: the session.
        folder: the folder that prepare_dataset.py wrote.
        dataset: its description, or that of its features, from spec.trained_on.
        names: the splits' names.
    """
    for part in (shards, features):
        for fit in dataset.stored:
            for file in part.split_files(folder, *names, fit=fit):
                if file.name in dataset.files:
                    ship_file(spark, file, f"{dataset.digest}-{file.name}")


def ship_backbone(spark: SparkSession, page: Experiment, folder: Path) -> int:
    """Send the backbone of a page with one, next to its features, so that finalists can be joined with it.

    Returns:
        Its size in bytes; 0 without a backbone.

    Raises:
        DatasetError: the features are not in the folder, or the backbone's file is gone.
    """
    if page.network.backbone is None:
        return 0
    found = features.read_for(page, folder)
    if not found.backbone.file.is_file():
        raise DatasetError(f"{found.backbone.file} must be there; it is not; run embed_images.py on {folder} again")
    ship_file(spark, found.backbone.file, f"{found.digest}-{trial.BACKBONE}")
    return found.backbone.file.stat().st_size


def warm(spark: SparkSession, count: int, threads: int, deterministic: bool = False) -> list[float]:
    """Import TensorFlow in `count` workers at once; return the seconds that each took.

    Return an empty list if Spark reports an error, such as a lost worker; if the cause persists, the first trials will
    show it.
    """

    def start(_: Iterable[int]) -> Iterator[float]:
        return iter([trial.start_tensorflow(threads, deterministic)])

    try:
        return spark.sparkContext.parallelize(range(count), count).mapPartitions(start).collect()
    except Exception as error:
        if _is_sparks(error):
            return []
        raise


def try_builder(spark: SparkSession, spec: TrialSpec) -> None:
    """Have a worker build the network of a specification and pass a batch through it, before any trial is counted.

    If the worker is lost, the trials decide: their limits apply, and their outcomes have the error.

    Raises:
        BuilderError: the network's file can't be imported, or what it returns is not a network with probabilities.
    """

    def task(specs: Iterable[TrialSpec]) -> Iterator[str]:
        return iter([trial.mistake(each, trial.shipped(each.dataset)) for each in specs])

    spark.sparkContext.setJobDescription(f"try {spec.builder.name}")
    try:
        mistakes = spark.sparkContext.parallelize([spec], 1).mapPartitions(task).collect()
    except Exception as error:
        if not _is_sparks(error):
            raise
        mistakes = []
    if any(mistakes):
        raise BuilderError(mistakes[0])


def train(spark: SparkSession, tag: str, specs: Sequence[TrialSpec], body: Body) -> list[Outcome]:
    """Run some trials as one Spark job, wait for it, and return the outcomes. The job can be cancelled by its tag.

    Raises:
        WorkerLostError: the job failed or was cancelled. Any other error is a bug, or means that the cluster is lost.
    """
    context = spark.sparkContext

    def task(lists: Iterable[list[TrialSpec]]) -> Iterator[Outcome]:
        for listed in lists:
            yield from body(listed)

    # Job tags belong to the thread, so only this job has them. One partition: one worker, in one Spark slot, runs the
    # trials one after another.
    try:
        for name in (tag, *(f"trial-{spec.number}" for spec in specs)):
            context.addJobTag(name)
        context.setJobDescription(", ".join(map(_name, specs)))
        outcomes: list[Outcome] = context.parallelize([list(specs)], 1).mapPartitions(task).collect()
    except Exception as error:
        # While the context is live, an error from Spark concerns this job only: it was cancelled, ran out of memory or
        # lost its executor. The sweep continues. In a stopped context every later job would fail, too.
        if _is_sparks(error) and context._jsc is not None and not context._jsc.sc().isStopped():
            raise WorkerLostError(_cause(error)) from error
        raise
    finally:
        # The pool reuses this thread: its next job must not be cancelled by this job's tag.
        if context._jsc is not None:
            context.clearJobTags()
    return outcomes


def _name(spec: TrialSpec) -> str:
    return f"trial {spec.number}, " + (f"repeat {spec.repeat}" if spec.repeat else f"attempt {spec.attempt}")


def _is_sparks(error: BaseException) -> bool:
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    return isinstance(error, (Py4JJavaError, PySparkException))


def _cause(error: BaseException) -> str:
    """Return the line of a Java exception that gives the cause, without the long stack trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if "Exception" in line or "lost" in line.lower()]
    return (causes or lines or [type(error).__name__])[0][:500]
