"""Download the image URLs of a feed that are new or due, label them, and add one row each to a table.

    spark-submit --master 'local[*]' jobs/score_images.py \\
        --experiment dags/experiments/digits.yaml --feed 'var/feeds/digits/*.txt' --table var/tables/digits

The champion labels them, or the network that the page names.

Only what is new in the feed's files is read. A URL that has a row is not asked again, unless its status may pass (see
windrow/scoring/status.py) and it is due; its new row then takes the place of the old one. With --rescore the model also
labels what an earlier one has labelled; both rows stay, and the result says how far they agree. A URL that can't be
labelled gets a row with the reason; only a bug or a lost cluster fails the job, and then the table is as it was.

--maintain does none of that: it merges the table's small files and removes those that nobody needs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import uuid
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow import command, experiment, paths
from windrow.errors import TrackingError, UserError, WindrowError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from windrow.experiment import Experiment, ScoringSection
    from windrow.scoring.files import OwnNetwork
    from windrow.scoring.pipeline import Plan
    from windrow.scoring.seen import Seen
    from windrow.scoring.table import PredictionTable
    from windrow.scoring.work import Search, Work
    from windrow.tracking import PinnedModel


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "--feed", metavar="GLOB", help="files or a folder of files with URLs; the page's scoring.feed if absent"
    )
    parser.add_argument(
        "--table", type=Path, metavar="DIR", help="predictions table; WINDROW_HOME/tables/NAME if absent"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--rescore", action="store_true", help="also label what earlier model versions have labelled")
    instead.add_argument("--maintain", action="store_true", help="compact and vacuum the table, and score nothing")
    return parser.parse_args()


def main() -> int:
    """Run the job; the exit code."""
    return command.run(score_images, parse_args())


def score_images(arguments: argparse.Namespace) -> dict[str, Any]:
    """Hold the table, then score or maintain it; the job's result."""
    from windrow.scoring import feed, report, upkeep, work
    from windrow.scoring.hold import held
    from windrow.scoring.table import PredictionTable

    page = experiment.load(arguments.experiment, arguments.overrides)
    if page.scoring is None:
        raise UserError(
            f"{arguments.experiment} needs a scoring section to score images; it has none; add scoring.feed"
        )
    folder = arguments.table or paths.home() / "tables" / page.name
    run_id = uuid.uuid4().hex
    if arguments.maintain:
        with held(folder, run_id):
            return upkeep.maintain(PredictionTable(folder), run_id)
    # A glob on the command line means what it means to the shell; the page does not know where it is run from.
    files = feed.files(arguments.feed, Path.cwd()) if arguments.feed else feed.files(page.scoring.feed, paths.home())
    with held(folder, run_id):
        table = PredictionTable(folder)
        result: dict[str, Any] = {"table": str(table.folder), "table_version": table.version}
        result |= {
            "model_name": page.scoring.model_name or page.model_name,
            "model_version": None,
            "files": len(files),
            **work.NOTHING,
        }
        search = work.look(table, files, arguments.rescore)
        if search:  # without anything to do, neither Spark nor MLflow is needed
            result |= label(page, page.scoring, table, search, run_id)
        result |= record(page, PredictionTable(folder), run_id)
    print(report.summary(result), file=sys.stderr)
    return result


def label(
    page: Experiment, scoring: ScoringSection, table: PredictionTable, search: Search, run_id: str
) -> dict[str, Any]:
    """Find the URLs to ask, ask them, and commit; what the result says of it."""
    from windrow.scoring import rehearsal, work
    from windrow.spark import open_session

    with tempfile.TemporaryDirectory(prefix="windrow-") as scratch, open_session(f"score {page.name}") as spark:
        pinned = cache(partial(pin, page, scoring, Path(scratch)))  # an alias is resolved once
        found = work.find(spark, table, search, lambda: pinned().identity, Path(scratch))
        if not found.urls:
            read = search.pieces and table.note(run_id, search.marks)
            return found.counts | {"table_version": read or table.version}
        plan = make_plan(scoring, table, pinned(), ship(spark, pinned(), Path(scratch)), run_id)
        # A task for fewer images than a batch would cost a TensorFlow import and gain nothing.
        partitions = min(spark.sparkContext.defaultParallelism, -(-found.urls // plan.batch_size))
        plan = rehearsal.rehearse(spark, plan, partitions)
        return add_predictions(spark, table, found, plan, partitions, search.marks)


def pin(page: Experiment, scoring: ScoringSection, scratch: Path) -> PinnedModel | OwnNetwork:
    """The network that labels, with its files at hand: the page's own, or a version of the registry."""
    if scoring.network is not None:
        from windrow.scoring import files

        return files.bring(scoring.network, paths.home(), scratch)
    from windrow import tracking

    return tracking.fetch_model(page.champion_uri, scratch)


def ship(spark: SparkSession, model: PinnedModel | OwnNetwork, scratch: Path) -> str:
    """Send the network's file to every host, once, a folder as an archive; the name under which executors find it."""
    from windrow.scoring import unpacking

    file = scratch / f"{model.digest}{'.tar' if model.network.is_dir() else model.network.suffix}"
    if model.network.is_dir():
        unpacking.pack(model.network, file)
    else:
        shutil.copyfile(model.network, file)  # Spark would follow a link, and take the name of what it leads to
    spark.sparkContext.addFile(str(file))
    return file.name


def make_plan(
    scoring: ScoringSection, table: PredictionTable, model: PinnedModel | OwnNetwork, file: str, run_id: str
) -> Plan:
    """What every task of this run does."""
    from windrow.scoring import kept
    from windrow.scoring.fetch import FetchPolicy
    from windrow.scoring.pipeline import Model, Plan
    from windrow.scoring.prediction import Patience, Stamp

    return Plan(
        model=Model(
            *(file, model.digest, model.shape, model.labels, model.form),
            canaries=model.canaries,
            open_ended=model.open_ended,
        ),
        stamp=Stamp(
            run_id=run_id,
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
        patience=Patience(scoring.attempts, scoring.retry_hours),
        kept=kept.of_table(table.folder, scoring.keep_mebibytes),
    )


def add_predictions(
    spark: SparkSession, table: PredictionTable, found: Work, plan: Plan, partitions: int, marks: Seen
) -> dict[str, Any]:
    """Score what was found and commit its rows; counts, statuses, rates and the table's new version."""
    from windrow.scoring import old, pending, pipeline, report
    from windrow.scoring.table import parts, write

    stamp = plan.stamp
    with table.staged(stamp.run_id) as folder:
        started = time.monotonic()
        write(pipeline.score(found.targets, plan, partitions), folder)
        figures = report.measure(parts(folder), time.monotonic() - started)
        if not figures["rows"] == figures.pop("keys") == found.urls:
            raise WindrowError(
                f"every URL must get one row; got {figures['rows']} rows for {found.urls} URLs; nothing was kept"
            )
        if found.counts["rescored"]:
            figures |= old.agreement(spark, table.files(), parts(folder), stamp.identity)
        if found.due.files:
            pending.carry(found.due, folder / "part-carried.parquet")
        figures |= found.counts | {"model_name": stamp.model_name, "model_version": stamp.model_version}
        said = {"modelName": stamp.model_name, "modelVersion": stamp.model_version, "figures": figures}
        return figures | {"table_version": table.commit(folder, stamp.run_id, said, found.due.files, marks)}


def record(page: Experiment, table: PredictionTable, run_id: str) -> dict[str, Any]:
    """Tell MLflow what the table's commits say that it has not heard; this run's id and link there, if it has one."""
    from windrow import tracking

    links: dict[str, Any] = {"links": {}}
    try:
        for figures in table.untold():
            recorded = tracking.log_scoring(page, figures)
            links = recorded if figures["scoring"] == run_id else links
    except TrackingError as error:
        raise TrackingError(
            f"predictions are committed to {table.folder}, but not recorded; the next run records them: {error}"
        ) from error
    table.told()
    return links


if __name__ == "__main__":
    sys.exit(main())
