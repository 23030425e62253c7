"""What a sweep asks of Spark: slots, warm workers, the data set's files, and jobs that hold some trials each."""

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
    """A job's worker or executor was lost, or the job was cancelled; the message says why in a line."""


def slots(spark: SparkSession, task_cores: int, wanted: int | None) -> int:
    """Trials that can run at once: what Spark's cores allow, or what the page wants where that is less."""
    offered = max(1, _cores(spark) // task_cores)
    return min(offered, wanted or offered)


def _cores(spark: SparkSession) -> int:
    """Cores of the executors that are there; with dynamic allocation, of as many as may come."""
    conf = spark.sparkContext.getConf()
    most = conf.get("spark.dynamicAllocation.maxExecutors")
    if conf.get("spark.dynamicAllocation.enabled") == "true" and most is not None:
        return int(most) * int(conf.get("spark.executor.cores") or 1)
    return spark.sparkContext.defaultParallelism


def gives_gpu(spark: SparkSession) -> bool:
    """Return whether Spark gives each task a GPU, or a share of one."""
    return float(spark.sparkContext.getConf().get("spark.task.resource.gpu.amount") or 0) > 0


def ship(spark: SparkSession, folder: Path, digest: str, *names: Split) -> None:
    """Send splits of a prepared data set to every executor, once a session. Workers find them by `trial.shipped`.

    Args:
        spark: the session.
        folder: where prepare_dataset.py wrote the data set.
        digest: of the data set.
        names: of the splits.
    """
    for file in shards.split_files(folder, *names):
        ship_file(spark, file, f"{digest}-{file.name}")


def warm(spark: SparkSession, count: int, threads: int, deterministic: bool = False) -> list[float]:
    """Import TensorFlow in `count` workers at once; the seconds that each took.

    Empty if one of them was lost meanwhile: the trials that come next find out what is wrong, if anything is.
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
    """Some trials as one Spark job, in this thread. It can be cancelled by its tag.

    Raises:
        WorkerLostError: the job failed. Anything else that is raised is a lost cluster, or a mistake here.
    """
    context = spark.sparkContext

    def task(lists: Iterable[list[TrialSpec]]) -> Iterator[Outcome]:
        for listed in lists:
            yield from body(listed)

    try:
        for name in (tag, *(f"trial-{spec.number}" for spec in specs)):
            context.addJobTag(name)
        context.setJobDescription(", ".join(f"trial {spec.number}, attempt {spec.attempt}" for spec in specs))
        outcomes: list[Outcome] = context.parallelize([list(specs)], 1).mapPartitions(task).collect()
    except Exception as error:
        if _is_sparks(error) and context._jsc is not None and not context._jsc.sc().isStopped():
            raise WorkerLostError(_cause(error)) from error
        raise
    finally:
        if context._jsc is not None:
            context.clearJobTags()
    return outcomes


def _is_sparks(error: BaseException) -> bool:
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    return isinstance(error, (Py4JJavaError, PySparkException))


def _cause(error: BaseException) -> str:
    """The line of a Java exception that says why, without its hundred lines of stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Exception" in line or "lost" in line.lower()]
    return (told or lines or [type(error).__name__])[0][:500]
