"""Peers on Spark, local[slots]. Each function runs trials 0..count-1; executors inherit PYTHONPATH and BENCH_FOLDER."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Objective = Callable[[int], float]


@contextmanager
def session(slots: int) -> Iterator[Any]:
    """Spark on this machine, with worker processes that are used again."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{slots}]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.log.level", "ERROR").config("spark.driver.memory", "1g").getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()


def map_of_trials(objective: Objective, count: int, slots: int) -> None:
    """The naive way: one Spark job, one task per trial. Nothing is seen, pruned or kept before the end."""
    with session(slots) as spark:
        spark.sparkContext.parallelize(range(count), count).map(objective).collect()


def job_a_trial(objective: Objective, count: int, slots: int) -> None:
    """One Spark job a trial, from as many threads as there are slots."""
    from pyspark import inheritable_thread_target

    with session(slots) as spark, ThreadPoolExecutor(slots) as pool:

        def run(number: int) -> Any:
            return spark.sparkContext.parallelize([number], 1).map(objective).collect()

        list(pool.map(inheritable_thread_target(spark)(run), range(count)))


def mlflow_spark(objective: Objective, count: int, slots: int) -> None:
    """MLflow's own sweep on Spark with Optuna, its runs in a SQLite file: no server that would need cores as well."""
    import mlflow
    from local_peers import in_order, suggest
    from mlflow.optuna.storage import MlflowStorage
    from mlflow.pyspark.optuna.study import MlflowSparkStudy

    folder = Path(os.environ["BENCH_FOLDER"])
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = mlflow.create_experiment("sweep", artifact_location=(folder / "artifacts").as_uri())
    with session(slots):
        study = MlflowSparkStudy("sweep", MlflowStorage(experiment), in_order(), direction="maximize")
        study.optimize(lambda trial: objective(suggest(trial)), n_trials=count)


def hyperopt_spark(objective: Objective, count: int, slots: int) -> None:
    """hyperopt's SparkTrials: one Spark job per trial, with polling."""
    from hyperopt import SparkTrials, fmin, hp

    with session(slots) as spark:
        fmin(
            lambda point: -objective(int(point)),
            hp.randint("point", count),
            algo=_in_order,
            max_evals=count,
            trials=SparkTrials(parallelism=slots, spark_session=spark),
            show_progressbar=False,
        )


def _in_order(new_ids: list[int], domain: Any, trials: Any, seed: int) -> list[Any]:
    """A hyperopt algorithm whose trial n gets point n."""
    documents: list[Any] = []
    for number in new_ids:
        misc = {"tid": number, "cmd": domain.cmd, "workdir": domain.workdir}
        misc |= {"idxs": {"point": [number]}, "vals": {"point": [number]}}
        documents.extend(trials.new_trial_docs([number], [None], [domain.new_result()], [misc]))
    return documents
