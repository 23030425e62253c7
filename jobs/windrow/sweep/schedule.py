"""Trials on Spark: one Spark job a trial, as many at once as there are slots.

Each job is tagged, so it is seen by its trial's number in Spark's own pages and can be cancelled alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.sweep import trial
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.trial import TrialSpec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def slots(spark: SparkSession, task_cores: int, wanted: int | None) -> int:
    """Trials that can run at once: what Spark's cores allow, or what the page wants where that is less."""
    offered = max(1, spark.sparkContext.defaultParallelism // task_cores)
    return min(offered, wanted or offered)


def ship(spark: SparkSession, files: Iterable[Path]) -> None:
    """Send the data set's files to every host once. Executors find them in SparkFiles' folder."""
    for file in files:
        spark.sparkContext.addFile(str(file))


def run(
    spark: SparkSession,
    count: int,
    next_spec: Callable[[], TrialSpec | None],
    on_outcome: Callable[[Outcome], TrialSpec | None],
) -> None:
    """Keep `count` slots busy until `next_spec` gives None and every outcome is in.

    Both callbacks run in the caller's thread. `on_outcome` may give back a specification to try at once.
    """
    with ThreadPoolExecutor(count, thread_name_prefix="trial") as pool:
        running: set[Future[Outcome]] = set()
        try:
            while True:
                while len(running) < count and (spec := next_spec()) is not None:
                    running.add(_start(pool, spark, spec))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    again = on_outcome(future.result())
                    if again is not None:
                        running.add(_start(pool, spark, again))
        except BaseException:
            # Without this, leaving the pool would wait for trials that nobody will hear of.
            spark.sparkContext.cancelAllJobs()
            raise


def run_each(spark: SparkSession, count: int, specs: Iterable[TrialSpec]) -> list[Outcome]:
    """Run a known list of trials, each with one attempt; outcomes in the order in which they ended."""
    waiting = iter(specs)
    outcomes: list[Outcome] = []
    run(spark, count, lambda: next(waiting, None), outcomes.append)
    return outcomes


def _start(pool: ThreadPoolExecutor, spark: SparkSession, spec: TrialSpec) -> Future[Outcome]:
    from pyspark import inheritable_thread_target

    return pool.submit(inheritable_thread_target(spark)(_run_one), spark, spec)


def _run_one(spark: SparkSession, spec: TrialSpec) -> Outcome:
    """One trial as one Spark job. A lost executor or worker is an outcome; a lost cluster is an error."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    context = spark.sparkContext
    context.addJobTag(f"trial-{spec.number}")
    context.setJobDescription(f"trial {spec.number}, attempt {spec.attempt}: {spec.parameters}")
    try:
        outcome: Outcome = context.parallelize([spec], 1).mapPartitions(trial.run_all).collect()[0]
    except (Py4JJavaError, PySparkException) as error:
        if context._jsc is None or context._jsc.sc().isStopped():
            raise
        return Outcome(spec.number, spec.attempt, Ending.LOST, error=_cause(error))
    finally:
        context.clearJobTags()
    return outcome


def _cause(error: Exception) -> str:
    """The line of a Java exception that says why, without its hundred lines of stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Exception" in line or "lost" in line.lower()]
    return (told or lines or [type(error).__name__])[0][:500]
