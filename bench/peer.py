"""Run one peer on a sweep's folder. sweeps.py and overhead.py start it; by hand it is good for looking at one peer.

PYTHONPATH=bench BENCH_FOLDER=var/bench/sweeps/ray var/bench/venv/bin/python bench/peer.py ray --count 4
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import local_peers
import objective
import spark_peers


@dataclass(frozen=True)
class Peer:
    """A tool, the trial that it runs in sweeps.py, and whether it runs one trial in each of several processes."""

    title: str
    run: Callable[[Callable[[int], float], int, int], None]
    trial: str = "fit"
    parallel: bool = True


PEERS = {
    "map": Peer("Spark map, hand-written graph loop", spark_peers.map_of_trials, "graph"),
    "graph": Peer("one process, hand-written graph loop", local_peers.one_after_another, "graph", parallel=False),
    "optuna": Peer("Optuna, two processes, keras.fit", local_peers.optuna_processes),
    "ray": Peer("Ray Tune, reused actors, keras.fit", local_peers.ray_tune),
    "keras_tuner": Peer("KerasTuner, two workers, keras.fit", local_peers.keras_tuner),
    "hyperopt": Peer("hyperopt SparkTrials, keras.fit", spark_peers.hyperopt_spark),
    "mlflow": Peer("MlflowSparkStudy, keras.fit", spark_peers.mlflow_spark),
    "keras": Peer("keras.fit, one after another", local_peers.one_after_another, parallel=False),
    "job": Peer("one Spark job a trial", spark_peers.job_a_trial),
    "ray_new": Peer("Ray Tune, a new actor a trial", local_peers.ray_tune_new_actors),
}


def main() -> None:
    """Run it to the end; trials.jsonl in BENCH_FOLDER holds what it did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PEERS, help="the peer")
    parser.add_argument("--count", type=int, required=True, metavar="N", help="trials; sweep.json has so many points")
    parser.add_argument("--slots", type=int, default=2, metavar="N", help="trials at once (default 2)")
    parser.add_argument("--trial", choices=("fit", "graph", "empty"), help="what a trial does, if not the peer's own")
    arguments = parser.parse_args()
    peer = PEERS[arguments.name]
    peer.run(getattr(objective, arguments.trial or peer.trial), arguments.count, arguments.slots)


if __name__ == "__main__":
    main()
