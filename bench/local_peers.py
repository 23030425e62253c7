"""Peers without Spark. Each function runs trials 0..count-1 in `slots` processes, as the tool's own guide does it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

Objective = Callable[[int], float]


def one_after_another(objective: Objective, count: int, slots: int) -> None:
    """No tool: a loop in one process, with all cores for TensorFlow."""
    for number in range(count):
        objective(number)


def optuna_processes(objective: Objective, count: int, slots: int) -> None:
    """Optuna's guide to several processes: one journal file, one study in each process."""
    import optuna

    optuna.create_study(storage=_journal(), study_name="sweep", direction="maximize")
    with ProcessPoolExecutor(slots, get_context("spawn")) as pool:
        list(pool.map(_optimize_one, [objective] * count))


def _optimize_one(objective: Objective) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(storage=_journal(), study_name="sweep", sampler=in_order())
    study.optimize(lambda trial: objective(suggest(trial)), n_trials=1)


def _journal() -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(Path(os.environ["BENCH_FOLDER"]) / "journal.log")))


def in_order() -> Any:
    """A sampler whose trial n gets point n: the comparison is of the tools, not of their luck."""
    from optuna.samplers import BaseSampler

    class InOrder(BaseSampler):  # type: ignore[misc]
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            return trial.number

    return InOrder()


def suggest(trial: Any) -> int:
    """The number of the point that an Optuna trial is to train."""
    return int(trial.suggest_int("point", 0, 9999))


def ray_tune(objective: Objective, count: int, slots: int, reuse_actors: bool = True) -> None:
    """Ray Tune with one core per trial; with reuse, an actor keeps TensorFlow imported between trials."""
    import ray
    from ray import tune

    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    ray.init(num_cpus=slots, include_dashboard=False, _node_ip_address="127.0.0.1", logging_level="ERROR")

    def train(config: dict[str, int]) -> None:
        tune.report({"accuracy": objective(config["point"])})

    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={"point": tune.grid_search(list(range(count)))},
        tune_config=tune.TuneConfig(metric="accuracy", mode="max", reuse_actors=reuse_actors),
        run_config=tune.RunConfig(storage_path=os.environ["BENCH_FOLDER"], verbose=0),
    )
    results = tuner.fit()
    ray.shutdown()
    if results.errors:
        raise results.errors[0]


def ray_tune_new_actors(objective: Objective, count: int, slots: int) -> None:
    """Ray Tune with its defaults: a new process for each trial."""
    ray_tune(objective, count, slots, reuse_actors=False)


def keras_tuner(objective: Objective, count: int, slots: int) -> None:
    """KerasTuner's guide to distributed tuning: a chief with the oracle, and one process per worker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    variables = {**os.environ, "KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    code = f"from local_peers import search; from objective import {objective.__name__} as o; search(o, {count})"
    names = ["chief", *(f"tuner{slot}" for slot in range(slots))]
    chief, *workers = [
        subprocess.Popen([sys.executable, "-c", code], env={**variables, "KERASTUNER_TUNER_ID": name}) for name in names
    ]
    codes = [worker.wait() for worker in workers]
    chief.kill()  # it looks only every 20 s whether all are done
    chief.wait()
    if any(codes):
        raise RuntimeError(f"KerasTuner's workers must end with 0; got {codes}")


def search(objective: Objective, count: int) -> None:
    """The code of each process of KerasTuner; its environment names its role.

    GridSearch, the obvious oracle for fixed points, lets workers wait for each other, and they wait by asking on.
    """
    import keras_tuner

    class InOrder(keras_tuner.Oracle):  # type: ignore[misc]
        def populate_space(self, trial_id: str) -> dict[str, Any]:
            return {"status": "RUNNING", "values": {"point": int(trial_id)}}

    class Sweep(keras_tuner.Tuner):  # type: ignore[misc]
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> float:
            return -objective(trial.hyperparameters.get("point"))

    space = keras_tuner.HyperParameters()
    space.Int("point", 0, count - 1)
    oracle = InOrder(hyperparameters=space, max_trials=count)
    Sweep(oracle, directory=os.environ["BENCH_FOLDER"], project_name="keras_tuner").search(verbose=0)
