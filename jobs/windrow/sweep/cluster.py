"""Use Spark for a sweep: count slots, warm up workers, ship the data set's files, and run jobs of some trials each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.data import shards
from windrow.data.splits import Split
from windrow.spark import ship_file
from windrow.sweep import trial
from windrow.sweep.outcomes import Outcome
from windrow.sweep.spec import TrialSpec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Body = Callable[[Iterable[TrialSpec]], Iterator[Outcome]]


class WorkerLostError(Exception):
    """A job's worker or executor was lost, or the job was cancelled; the message gives the cause in one line."""


def slots(spark: SparkSession, task_cores: int, wanted: int | None) -> int:
    """Count the trials that can run at once: what Spark's cores allow, or what the page wants where that is less."""
    offered = max(1, _cores(spark) // task_cores)
    return min(offered, wanted or offered)


def _cores(spark: SparkSession) -> int:
    """Count the cores of the executors that have registered; with dynamic allocation, of as many as may come."""
    # With dynamic allocation executors come only once jobs wait for them: a count of those that are there would be the
    # least, and a sweep that started so few jobs would keep it there.
    conf = spark.sparkContext.getConf()
    most = conf.get("spark.dynamicAllocation.maxExecutors")
    if conf.get("spark.dynamicAllocation.enabled") == "true" and most is not None:
        return int(most) * int(conf.get("spark.executor.cores") or 1)
    return spark.sparkContext.defaultParallelism


def gives_gpu(spark: SparkSession) -> bool:
    """Return whether Spark gives each task a GPU, or a share of one."""
    return float(spark.sparkContext.getConf().get("spark.task.resource.gpu.amount") or 0) > 0


def ship(spark: SparkSession, folder: Path, digest: str, *names: Split) -> None:
    """Send splits of a prepared data set to every executor, once per session. Workers find them by `trial.shipped`.

    Args:
        spark: the session.
        folder: the folder that prepare_dataset.py wrote.
        digest: of the data set.
        names: of the splits.
    """
    for file in shards.split_files(folder, *names):
        ship_file(spark, file, f"{digest}-{file.name}")


def warm(spark: SparkSession, count: int, threads: int, deterministic: bool = False) -> list[float]:
    """Import TensorFlow in `count` workers at once; return the seconds that each took.

    Empty if a worker was lost meanwhile: the trials that come next show what is wrong, if anything is.
    """

    def start(_: Iterable[int]) -> Iterator[float]:
        return iter([trial.start_tensorflow(threads, deterministic)])

    try:
        return spark.sparkContext.parallelize(range(count), count).mapPartitions(start).collect()
    except Exception as error:
        if _is_sparks(error):
            return []
        raise


def train(spark: SparkSession, tag: str, specs: Sequence[TrialSpec], body: Body) -> list[Outcome]:
    """Run some trials as one Spark job, in this thread, and return their outcomes. It can be cancelled by its tag.

    Raises:
        WorkerLostError: the job failed. Any other error means that the cluster is lost, or is a bug.
    """
    context = spark.sparkContext

    def task(lists: Iterable[list[TrialSpec]]) -> Iterator[Outcome]:
        for listed in lists:
            yield from body(listed)

    # Tags belong to the thread, and so to this job alone. One partition: the trials share a worker, and a slot of
    # Spark's, one after another.
    try:
        for name in (tag, *(f"trial-{spec.number}" for spec in specs)):
            context.addJobTag(name)
        context.setJobDescription(", ".join(map(_name, specs)))
        outcomes: list[Outcome] = context.parallelize([list(specs)], 1).mapPartitions(task).collect()
    except Exception as error:
        # An error of Spark's in a live context is that of the job: cancelled, out of memory, its executor lost. The
        # sweep continues. In a stopped context every later job would fail alike.
        if _is_sparks(error) and context._jsc is not None and not context._jsc.sc().isStopped():
            raise WorkerLostError(_cause(error)) from error
        raise
    finally:
        # The pool uses its threads again: the next job must not be cancelled by this one's tag.
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
    """Return the line of a Java exception that gives the cause, without its hundred lines of stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if "Exception" in line or "lost" in line.lower()]
    return (causes or lines or [type(error).__name__])[0][:500]
