"""Choose a study's best network by validation, read the test split once, and promote it if it beats the champion.

    spark-submit --master 'local[*]' jobs/promote_best.py \\
        --experiment dags/experiments/digits.yaml --dataset var/data/digits --study var/studies/digits

The network that is read out on the test split is the registered file, loaded back from MLflow. Running the job again
for the same finalists repeats the recorded decision and registers nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow import command, experiment
from windrow.errors import StudyError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment
    from windrow.selection.finalists import Finalist
    from windrow.sweep.study import Finished
    from windrow.tracking import Promotion
    from windrow.training.networks import Builder


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR", help="what prepare_dataset.py wrote")
    parser.add_argument("--study", required=True, type=Path, metavar="DIR", help="the folder that sweep.py worked in")
    return parser.parse_args()


def main() -> int:
    """Run the job; the exit code."""
    return command.run(promote_best, parse_args())


def promote_best(arguments: argparse.Namespace) -> dict[str, Any]:
    """Finalists, registration, test read-out, decision; the job's result."""
    from windrow import tracking
    from windrow.data import manifest
    from windrow.spark import open_session
    from windrow.sweep.study import read_study
    from windrow.training.networks import read_builder

    path = Path(arguments.experiment)
    page = experiment.load(path, arguments.overrides)
    builder = read_builder(page.network, path)
    dataset = manifest.read(arguments.dataset)
    study = read_study(arguments.study, page, dataset.digest, builder.source)
    best = study.ranked()[: page.promotion.finalists]
    if not best:
        raise StudyError(f"a promotion needs one trial that ended ok; {arguments.study} has none; run sweep.py first")
    promotion = tracking.open_promotion(page, dataset, study)
    if (decided := promotion.decided([trial.number for trial in best])) is not None:
        return decided
    with open_session(f"promote {page.name}", page.sweep.cores) as spark:
        finalists = train_finalists(spark, page, builder, dataset, arguments.dataset, best)
        return judge(spark, page, dataset, arguments.dataset, finalists, promotion)


def train_finalists(
    spark: SparkSession, page: Experiment, builder: Builder, dataset: Manifest, folder: Path, best: list[Finished]
) -> list[Finalist]:
    """Train each finalist over its seeds on Spark; best validation first."""
    from windrow.data import shards
    from windrow.selection import finalists
    from windrow.sweep import cluster, schedule

    cluster.ship(spark, shards.split_files(folder, "train", "validation"))
    slots = cluster.slots(spark, page.sweep.cores, page.sweep.slots)
    outcomes = schedule.run_each(spark, slots, finalists.specs(page, builder, dataset, best))
    return finalists.rank(page, best, outcomes)


def judge(
    spark: SparkSession,
    page: Experiment,
    dataset: Manifest,
    folder: Path,
    finalists: list[Finalist],
    promotion: Promotion,
) -> dict[str, Any]:
    """Register the challenger, read the test split once for it and the champion, decide, and move the aliases."""
    from windrow.data import shards
    from windrow.selection.readout import read_test
    from windrow.selection.rule import decide
    from windrow.sweep import cluster

    with tempfile.TemporaryDirectory(prefix="windrow-") as scratch:
        champion = promotion.champion(Path(scratch) / "champion")
        challenger = promotion.register(finalists[0], Path(scratch) / "challenger")
        incomparable = promotion.incomparable(champion)
        networks = {"challenger": challenger.network.read_bytes()}
        if champion is not None and not incomparable:
            networks["champion"] = champion.network.read_bytes()
    cluster.ship(spark, shards.split_files(folder, "test"))
    figures = read_test(spark, networks, page.sweep.cores)
    decision = decide(figures["challenger"], figures.get("champion"), page.promotion.minimum_improvement, incomparable)
    result = promotion.conclude(challenger, champion, finalists, figures, decision)
    print(f"{challenger.name} version {challenger.version}: {decision.reason}", file=sys.stderr)
    return result


if __name__ == "__main__":
    sys.exit(main())
