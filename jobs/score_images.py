"""Download the new image URLs of a feed, label them with the champion, and add one row a URL to a Delta table.

    spark-submit --master 'local[*]' jobs/score_images.py \\
        --experiment dags/experiments/digits.yaml --feed 'var/feeds/digits/*.txt' --table var/tables/digits

A URL that has a row is not asked again. A URL that can't be labelled gets a row with the reason (see
windrow/scoring/status.py); only a bug or a lost cluster fails the job, and then the table is as it was.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow import command, experiment, paths
from windrow.errors import TrackingError, UserError, WindrowError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from windrow.experiment import ScoringSection
    from windrow.scoring.pipeline import Plan
    from windrow.scoring.table import PredictionTable
    from windrow.tracking import PinnedModel


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "--feed", metavar="GLOB", help="text files with a URL a line; the page's scoring.feed if absent"
    )
    parser.add_argument(
        "--table", type=Path, metavar="DIR", help="predictions table; WINDROW_HOME/tables/NAME if absent"
    )
    return parser.parse_args()


def main() -> int:
    """Run the job; the exit code."""
    return command.run(score_images, parse_args())


def score_images(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read the feed, leave out what is known, score the rest, commit; the job's result."""
    from windrow import tracking
    from windrow.scoring import feed, report
    from windrow.scoring.table import PredictionTable
    from windrow.spark import open_session

    page = experiment.load(arguments.experiment, arguments.overrides)
    if page.scoring is None:
        raise UserError(
            f"{arguments.experiment} needs a scoring section to score images; it has none; add scoring.feed"
        )
    # A glob on the command line means what it means to the shell; the page does not know where it is run from.
    files = feed.files(arguments.feed, Path.cwd()) if arguments.feed else feed.files(page.scoring.feed, paths.home())
    table = PredictionTable(arguments.table or paths.home() / "tables" / page.name)
    result: dict[str, Any] = {"table": str(table.folder), "table_version": table.version, "model_name": page.model_name}
    with tempfile.TemporaryDirectory(prefix="windrow-") as scratch, open_session(f"score {page.name}") as spark:
        targets, new, known = table.unknown(feed.read(spark, files))
        result |= {"urls": new + known, "new": new, "already_scored": known}
        if not new:
            result |= {"rows": 0, "statuses": {}, "images_per_second": None, "model_version": None, "links": {}}
        else:
            model = tracking.fetch_model(page.champion_uri, Path(scratch))
            result |= {"model_name": model.name, "model_version": model.version}
            result |= add_predictions(spark, table, targets, new, make_plan(page.scoring, model, ship(spark, model)))
    if new:
        try:
            result |= tracking.log_scoring(page, result)
        except TrackingError as error:
            raise TrackingError(f"predictions are committed to {table.folder}, but not recorded: {error}") from error
    print(report.summary(result), file=sys.stderr)
    return result


def ship(spark: SparkSession, model: PinnedModel) -> str:
    """Send the network's file to every host, once; the name under which executors find it."""
    file = model.network.rename(model.network.with_name(f"{model.digest}.keras"))
    spark.sparkContext.addFile(str(file))
    return file.name


def make_plan(scoring: ScoringSection, model: PinnedModel, file: str) -> Plan:
    """What every task of this run does."""
    from windrow.scoring.fetch import FetchPolicy
    from windrow.scoring.pipeline import Model, Plan
    from windrow.scoring.prediction import Stamp

    return Plan(
        model=Model(file, model.digest, model.shape, model.labels),
        stamp=Stamp(
            run_id=uuid.uuid4().hex,
            model_name=model.name,
            model_version=model.version,
            model_digest=model.digest,
            dag_run_id=os.environ.get("AIRFLOW_CTX_DAG_RUN_ID"),
        ),
        fetch=FetchPolicy(
            timeout_seconds=scoring.timeout_seconds,
            connect_seconds=scoring.connect_seconds,
            read_seconds=scoring.read_seconds,
            max_bytes=scoring.max_bytes,
            concurrency=scoring.concurrency,
            host_concurrency=scoring.host_concurrency,
            host_rate=scoring.host_rate,
            robots=scoring.robots,
            allow_addresses=scoring.allow_addresses,
            contact=scoring.contact,
        ),
        top_k=scoring.top_k,
        batch_size=scoring.batch_size,
        max_pixels=scoring.max_pixels,
    )


def add_predictions(
    spark: SparkSession, table: PredictionTable, targets: DataFrame, new: int, plan: Plan
) -> dict[str, Any]:
    """Score `new` targets and commit their rows; rows, statuses, rates and the table's new version."""
    from windrow.scoring import pipeline, report
    from windrow.scoring.table import parts, write

    # A task for fewer images than a batch would cost a TensorFlow import and gain nothing.
    partitions = min(spark.sparkContext.defaultParallelism, -(-new // plan.batch_size))
    with table.staged(plan.stamp.run_id) as folder:
        started = time.monotonic()
        write(pipeline.score(targets, plan, partitions), folder)
        figures = report.measure(parts(folder), time.monotonic() - started)
        if not figures["rows"] == figures.pop("keys") == new:
            raise WindrowError(
                f"every URL must get one row; got {figures['rows']} rows for {new} URLs; nothing was kept"
            )
        model = {"modelName": plan.stamp.model_name, "modelVersion": plan.stamp.model_version}
        return figures | {"table_version": table.commit(folder, plan.stamp.run_id, model)}


if __name__ == "__main__":
    sys.exit(main())
