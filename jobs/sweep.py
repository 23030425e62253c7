"""Advance a study: train the trials of a page's search side by side on Spark, and record each in MLflow.

    spark-submit --master 'local[*]' jobs/sweep.py \\
        --experiment dags/experiments/digits.yaml --dataset var/data/digits --study var/studies/digits

An interrupted study continues: finished trials stay, interrupted trials are trained again.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from windrow import command, experiment, files
from windrow.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment
    from windrow.sweep.cluster import Body
    from windrow.sweep.efficiency import Clock
    from windrow.sweep.study import Study
    from windrow.tracking.sweep_log import SweepLog
    from windrow.training.networks import Builder


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR", help="what prepare_dataset.py wrote")
    parser.add_argument("--study", required=True, type=Path, metavar="DIR", help="the study's folder; made if absent")
    return parser.parse_args()


def main() -> int:
    """Run the job and return its exit code."""
    return command.run(sweep, parse_args())


def sweep(
    arguments: argparse.Namespace, body: Body | None = None, warm: Callable[..., list[float]] | None = None
) -> dict[str, object]:
    """Train until the study has the page's number of trials, or its time budget is used up; return the job's result.

    `body` and `warm` are functions that workers run in place of trial.run_all and cluster.warm.
    """
    from windrow.data import manifest
    from windrow.selection import hints
    from windrow.sweep import spec
    from windrow.sweep.progress import ending
    from windrow.sweep.sampling import samplers
    from windrow.sweep.study import open_study
    from windrow.training.networks import check_parameters, read_builder

    start, path = perf_counter(), Path(arguments.experiment)
    page = experiment.load_to_train(path, arguments.overrides)
    samplers.check_installed(page.sweep)
    builder, dataset = read_builder(page.network, path), manifest.read(arguments.dataset)
    page = spec.sized(page, dataset)
    files.check_writable(arguments.study / "study.json")
    trained = spec.trained_on(page, dataset, arguments.dataset)
    with open_study(arguments.study, page, trained.digest, builder.source) as study:
        if not len(study.ledger):
            check_parameters(builder)
        log, clock, late = train(page, path, builder, dataset, arguments.dataset, study, body, warm)
        result = summarize(study, perf_counter() - start, clock, late)
        result |= hints.of_sweep(study, dataset, arguments.dataset) | ending.result(study, dataset)
        return result | log.summarize(result)


def train(
    page: Experiment,
    path: Path,
    builder: Builder,
    dataset: Manifest,
    folder: Path,
    study: Study,
    body: Body | None = None,
    warm: Callable[..., list[float]] | None = None,
) -> tuple[SweepLog, Clock, bool]:
    """Run the study's trials on Spark; return the log, the clock, and True if the time budget was used up.

    A thread imports MLflow while Spark starts. TensorFlow is imported for the workers while the study and MLflow open.
    """
    from windrow import channel
    from windrow.spark import open_session
    from windrow.sweep import cluster, schedule, spec, trial
    from windrow.sweep.search import Search
    from windrow.tracking.server import connect
    from windrow.tracking.sweep_log import open_sweep

    trained = spec.trained_on(page, dataset, folder)
    with ThreadPoolExecutor(2) as aside:
        opening = aside.submit(connect)
        with open_session(f"sweep {page.name}", page.sweep.cores, page.cluster_minutes, cluster.DAEMON) as spark:
            recount = partial(cluster.slots, spark, page.sweep.cores, page.sweep.slots)
            slots = recount()
            cluster.ship(spark, folder, trained, "train", "validation")
            imports = aside.submit(warm or cluster.warm, spark, slots, page.sweep.cores, page.sweep.deterministic)
            opening.result()
            log = open_sweep(page, path, dataset, study, builder.source)
            with log, command.when_stopped(log.kill), channel.open_channel(spark) as line:
                if body is None and builder.source is not None and study.best is None:
                    cluster.try_builder(spark, spec.default_spec(page, builder, trained))
                search = Search(page, builder, trained, study, log, line.address, cluster.gives_gpu(spark))
                clock = schedule.run(spark, slots, search, line, body or trial.run_all, recount)
                clock.import_seconds += sum(imports.result())
    return log, clock, search.out_of_time


def summarize(study: Study, seconds: float, clock: Clock, out_of_time: bool) -> dict[str, object]:
    """Return counts by ending, the best trial, and figures of how the time was used.

    Raises:
        StudyError: no trial ended ok.
    """
    best = study.best
    endings = {ending.value: count for ending, count in study.endings.items()}
    if best is None:
        counts = ", ".join(f"{count} {ending}" for ending, count in endings.items()) or "no trials"
        raise StudyError(f"a sweep needs one trial that ends ok; got {counts}; a trial's run in MLflow shows its error")
    finished = study.finished()
    return {
        "study": str(study.folder.resolve()),
        "study_id": study.id,
        "trials": len(finished),
        "outcomes": endings,
        "out_of_time": out_of_time,
        "objective": study.page.sweep.objective,
        "best_trial": best.number,
        "best_value": best.value,
        "best_point": best.point,
        "epochs": sum(len(trial.epochs) for trial in finished),
        "slots": clock.slots,
        "seconds": round(seconds, 1),
        "training_seconds": round(sum(trial.seconds for trial in finished), 1),
        "efficiency": clock.figures(study.page.sweep.cores),
    }


if __name__ == "__main__":
    sys.exit(main())
