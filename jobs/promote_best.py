"""Choose a study's best network by validation, read the test split once, and promote it if it beats the champion.

    spark-submit --master 'local[*]' jobs/promote_best.py \\
        --experiment dags/experiments/digits.yaml --dataset var/data/digits --study var/studies/digits

The network that is evaluated on the test split is the registered file, loaded back from MLflow. Running the job again
for the same finalists repeats the recorded decision and registers nothing.

With one of the options below, the job trains nothing and needs no Spark. It records a person's answer to a request for
approval, makes a version of your choice champion, or rolls back to the previous champion:

    python jobs/promote_best.py --experiment dags/experiments/digits.yaml --approve 7 --by ada
    python jobs/promote_best.py --experiment dags/experiments/digits.yaml --reject 7 --by ada
    python jobs/promote_best.py --experiment dags/experiments/digits.yaml --promote 3 --by ada
    python jobs/promote_best.py --experiment dags/experiments/digits.yaml --rollback --by ada
"""

from __future__ import annotations

import argparse
import getpass
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from windrow import command, experiment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from windrow.data.splits import StoredFit
    from windrow.experiment import Experiment
    from windrow.selection.finalists import Final
    from windrow.selection.readout import Readout
    from windrow.tracking.promotions.promotion import Promotion

    Read = Callable[[Mapping[str, bytes], Mapping[str, NDArray[np.int64]], Mapping[str, StoredFit]], dict[str, Readout]]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="what prepare_dataset.py wrote")
    parser.add_argument("--study", type=Path, metavar="DIR", help="the folder that sweep.py worked in")
    move = parser.add_mutually_exclusive_group()
    move.add_argument("--rollback", action="store_true", help="swap champion and previous")
    move.add_argument("--approve", metavar="VERSION", help="promote a version that awaits approval")
    move.add_argument("--promote", metavar="VERSION", help="make a version of your choice champion")
    move.add_argument("--reject", metavar="VERSION", help="reject a version that awaits approval; the champion stays")
    parser.add_argument("--by", metavar="NAME", help="who makes the change; you by default")
    arguments = parser.parse_args()
    if not moves(arguments) and None in (arguments.dataset, arguments.study):
        parser.error("a promotion needs --dataset and --study; or name --rollback, --promote, --approve or --reject")
    return arguments


def main() -> int:
    """Run the job and return its exit code."""
    arguments = parse_args()
    return command.run(move if moves(arguments) else promote_best, arguments)


def moves(arguments: argparse.Namespace) -> bool:
    """Return True if the command trains nothing: it answers a request, promotes a version, or rolls back."""
    return bool(arguments.rollback or arguments.promote or arguments.approve or arguments.reject)


def move(arguments: argparse.Namespace) -> dict[str, object]:
    """Roll back, promote a chosen version, or record a person's approval or rejection; return the job's result."""
    from windrow.tracking.promotions.manual import answer, promote, rollback

    by = arguments.by or getpass.getuser()
    model = experiment.load_to_train(arguments.experiment, arguments.overrides).model_name
    if arguments.rollback:
        result = rollback(model, by)
    elif arguments.promote:
        result = promote(model, arguments.promote, by)
    else:
        result = answer(model, arguments.approve or arguments.reject, bool(arguments.approve), by).to_json()
    print(f"{model} version {result['model_version']}: {result['reason']}", file=sys.stderr)
    return result


def promote_best(arguments: argparse.Namespace) -> dict[str, object]:
    """Train the finalists, register the best, and decide; return the result, or that of an earlier decision on them."""
    from windrow.data import manifest, overlap
    from windrow.selection.ranking import contest
    from windrow.selection.readout import read_test
    from windrow.selection.tuning.stage import open_stage
    from windrow.spark import open_session
    from windrow.sweep import cluster, spec
    from windrow.sweep.study import read_study
    from windrow.tracking.promotions.promotion import open_promotion
    from windrow.training.networks import read_builder

    path = Path(arguments.experiment)
    page = experiment.load_to_train(path, arguments.overrides)
    builder, dataset = read_builder(page.network, path), manifest.read(arguments.dataset)
    page = spec.sized(page, dataset)
    study = read_study(arguments.study, page, spec.trained_on(page, dataset, arguments.dataset).digest, builder.source)
    best, default = contest.entrants(page, study)
    overlap.check(arguments.dataset)
    promotion = open_promotion(page, dataset, study, [trial.number for trial in best])
    with promotion.alone(), tempfile.TemporaryDirectory(prefix="windrow-") as scratch:
        if (decided := promotion.decided()) is not None:
            return decided.to_json()
        promotion.check_champion(Path(scratch), arguments.dataset)
    with open_session(f"promote {page.name}", page.sweep.cores, page.cluster_minutes, cluster.DAEMON) as spark:
        stage = open_stage(spark, page, dataset, arguments.dataset, [*best, *default])
        final = stage.after(contest.train(spark, page, builder, dataset, arguments.dataset, best, default))
        cluster.ship(spark, arguments.dataset, dataset, "test")
        read = partial(read_test, spark, dataset=dataset.digest, threads=page.sweep.cores)
        return judge(read, page, arguments.dataset, final, promotion)


def judge(read: Read, page: Experiment, folder: Path, final: Final, promotion: Promotion) -> dict[str, object]:
    """Register the challenger, evaluate it and its rivals once on the test split, decide, and move the aliases.

    Return the job's result. If another job has decided meanwhile, only return that decision's result.
    """
    from windrow.selection import common_images, evidence
    from windrow.selection.rule import decide

    with promotion.alone(), tempfile.TemporaryDirectory(prefix="windrow-") as scratch:
        if (decided := promotion.decided()) is not None:  # by another job, while this one trained
            return decided.to_json()
        promotion.begin(final)
        rival = promotion.rival(Path(scratch) / "champion", folder)
        different = common_images.first_of_copies(folder)
        challenger = promotion.register(final, folder, Path(scratch) / "challenger")
        networks = {evidence.CHALLENGER: challenger.file.read_bytes(), **evidence.to_read(final)}
        truths = {}
        if rival is not None and (network := rival.to_read) is not None:
            networks[evidence.CHAMPION], truths[evidence.CHAMPION] = network, rival.common.truth
        figures = read(networks, truths, evidence.fits(final, rival))
        rival = rival and replace(rival, readout=figures.get(evidence.CHAMPION))
        advice = promotion.hints(final)
        decision = decide(figures[evidence.CHALLENGER], rival, page.promotion, advice, different, page.sweep.objective)
        result = promotion.conclude(challenger, rival, final, figures, decision, folder)
    print(f"{challenger.name} version {challenger.version}: {decision.reason}\n\n{result.evidence}", file=sys.stderr)
    return result.to_json()


if __name__ == "__main__":
    sys.exit(main())
