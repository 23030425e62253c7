"""Advance a study: train the trials of a page's search side by side on Spark, and record each in MLflow.

    spark-submit --master 'local[*]' jobs/sweep.py \\
        --experiment dags/experiments/digits.yaml --dataset var/data/digits --study var/studies/digits

A study that was cut off goes on where it was: finished trials are kept, cut-off ones are trained again.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from windrow import command, experiment
from windrow.errors import StudyError

if TYPE_CHECKING:
    from windrow.sweep.study import Study


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR", help="what prepare_dataset.py wrote")
    parser.add_argument("--study", required=True, type=Path, metavar="DIR", help="the study's folder; made if absent")
    return parser.parse_args()


def main() -> int:
    """Run the job; the exit code."""
    return command.run(sweep, parse_args())


def sweep(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train until the study has as many trials as the page says; the job's result."""
    from windrow import tracking
    from windrow.data import manifest, shards
    from windrow.spark import open_session
    from windrow.sweep import schedule
    from windrow.sweep.search import Search
    from windrow.sweep.study import open_study
    from windrow.training.networks import read_builder

    start = perf_counter()
    path = Path(arguments.experiment)
    page = experiment.load(path, arguments.overrides)
    builder = read_builder(page.network, path)
    dataset = manifest.read(arguments.dataset)
    command.check_writable(arguments.study / "study.json")
    tracking.connect()
    with open_study(arguments.study, page, dataset.digest) as study:  # noqa: SIM117  the log needs the study
        with (
            tracking.open_sweep(page, path, dataset, study) as log,
            open_session(f"sweep {page.name}", page.sweep.cores) as spark,
        ):
            schedule.ship(spark, shards.split_files(arguments.dataset, "train", "validation"))
            search = Search(page, builder, dataset, study, log)
            slots = schedule.slots(spark, page.sweep.cores, page.sweep.slots)
            schedule.run(spark, slots, search.next_spec, search.take)
            result = summarize(study, perf_counter() - start, slots)
            result |= log.summarize(result)
    return result


def summarize(study: Study, seconds: float, slots: int) -> dict[str, Any]:
    """Counts by ending, the best trial, and where the time went.

    Raises:
        StudyError: no trial ended ok.
    """
    finished = study.finished()
    endings = dict(Counter(trial.ending.value for trial in finished))
    ranked = study.ranked()
    if not ranked:
        counts = ", ".join(f"{count} {ending}" for ending, count in endings.items()) or "no trials"
        raise StudyError(f"a sweep needs one trial that ends ok; got {counts}; a trial's run in MLflow says why")
    return {
        "study": str(study.folder.resolve()),
        "study_id": study.id,
        "trials": len(finished),
        "outcomes": endings,
        "objective": study.page.sweep.objective,
        "best_trial": ranked[0].number,
        "best_value": ranked[0].value,
        "best_point": ranked[0].point,
        "slots": slots,
        "seconds": round(seconds, 1),
        "training_seconds": round(sum(trial.seconds for trial in finished), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
