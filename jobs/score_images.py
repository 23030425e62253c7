"""Download the image URLs of a feed that are new or due, label them, and add one row each to a table.

    spark-submit --master 'local[*]' jobs/score_images.py \\
        --experiment dags/experiments/digits.yaml --feed 'var/feeds/digits/*.txt' --table var/tables/digits

The champion labels them, or the network that the page names.

Only what is new in the feed's files is read. A URL that has a row is not asked again, unless its status may pass
(windrow/scoring/fetch/status.py) and it is due; its new row then takes the place of the old one. With --rescore the
model also labels what an earlier one has labelled; both rows stay, and the result says how far they agree. A URL that
can't be labelled gets a row with the reason; only a bug or a lost cluster fails the job, and then the table is as it
was.

Where the page has a drift gate and labels or scores have moved further than it lets them, the rows are withheld: the
table is as it was, the job ends with exit code 1 and says what moved. With --accept-drift they are committed, without
asking any host again.

With --date a run reads the files of one day only, where the feed's pattern has {date}: a day that was missed, say.
With --limit a run asks so many new URLs at most, and leaves the others to the next one. With --dry-run it says what it
would ask, and neither asks a host nor adds a row.

Where the page names an object store, a copy of the table is brought up to date there at the end. Where the store or
MLflow is away, the table is right all the same, the job ends with exit code 1, and the next run tells them.

--maintain does none of that but the copy: it merges the table's small files and removes those that nobody needs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow import command, experiment, paths
from windrow.errors import DriftError, TrackingError, WindrowError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession
    from windrow.experiment import Experiment, ScoringSection
    from windrow.model.network import Network
    from windrow.scoring.pipeline import ScoringPlan
    from windrow.scoring.table.predictions_table import PredictionTable
    from windrow.scoring.table.withheld import Night
    from windrow.scoring.work import FeedSearch, Work


IMAGES_A_TASK = 64
"""A task for fewer costs an import of TensorFlow more than it gains."""


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
    parser.add_argument("--dry-run", action="store_true", help="count what there is to do; ask no host, add no row")
    parser.add_argument(
        "--limit", type=command.positive, metavar="N", help="ask N new URLs at most; the next run goes on with the rest"
    )
    parser.add_argument(
        "--date", type=command.day, metavar="YYYY-MM-DD", help="the files of one day, by {date} in the feed's pattern"
    )
    parser.add_argument(
        "--accept-drift", action="store_true", help="commit rows although the page's scoring.drift_gate withholds them"
    )
    arguments = parser.parse_args()
    if arguments.maintain and arguments.dry_run:
        parser.error("--dry-run must come without --maintain, which asks no host anyway; remove either")
    return arguments


def main() -> int:
    """Run the job; the exit code."""
    return command.run(score_images, parse_args())


def score_images(arguments: argparse.Namespace) -> dict[str, Any]:
    """Hold the table, then score or maintain it; the job's result."""
    from windrow.scoring import planning, work
    from windrow.scoring.feed import new_urls
    from windrow.scoring.publish import copy
    from windrow.scoring.report import text
    from windrow.scoring.table import upkeep
    from windrow.scoring.table.lock import held
    from windrow.scoring.table.predictions_table import PredictionTable

    page = experiment.load(arguments.experiment, arguments.overrides)
    scoring = planning.scoring_section(page, str(arguments.experiment))
    folder = arguments.table or paths.home() / "tables" / page.name
    run_id = uuid.uuid4().hex
    if arguments.maintain:
        with held(folder, run_id):
            table = PredictionTable(folder)
            copy.check(scoring.publish, table.folder)
            return upkeep.maintain(table, run_id) | copy.publish(scoring.publish, table.folder)
    # A glob on the command line means what it means to the shell; the page does not know where it is run from.
    base = Path.cwd() if arguments.feed else paths.home()
    files = new_urls.files(new_urls.of_day(arguments.feed or scoring.feed, arguments.date), base)
    with held(folder, run_id):
        table = PredictionTable(folder)
        result: dict[str, Any] = {"table": str(table.folder), "table_version": table.version}
        result |= {
            "model_name": scoring.model_name or page.model_name,
            "model_version": None,
            "files": len(files),
            **work.NOTHING,
        }
        search = work.look(table, files, arguments.rescore, arguments.limit)
        if arguments.dry_run:
            result |= count(page, table, search)
            print(text.outlook(result), file=sys.stderr)
            return result
        copy.check(scoring.publish, table.folder)
        if search:  # without anything to do, neither Spark nor MLflow is needed
            result |= label(page, scoring, table, search, run_id, arguments.accept_drift)
        result |= tell(page, scoring, PredictionTable(folder), result.get("scoring"))
    print(text.summary(result), file=sys.stderr)
    return result


def count(page: Experiment, table: PredictionTable, search: FeedSearch) -> dict[str, Any]:
    """What a run would do, without doing it."""
    from windrow.scoring import work
    from windrow.spark import open_session
    from windrow.tracking.models import pin

    if not search:
        return {"dry_run": True}
    with tempfile.TemporaryDirectory(prefix="windrow-") as scratch, open_session(f"count {page.name}") as spark:
        pinned = cache(partial(pin, page, Path(scratch)))
        found = work.find(spark, table, search, lambda: pinned().identity, Path(scratch))
        return found.counts | {"dry_run": True}


def label(
    page: Experiment, scoring: ScoringSection, table: PredictionTable, search: FeedSearch, run_id: str, accept: bool
) -> dict[str, Any]:
    """Find the URLs to ask, ask them, and commit; what the result says of it."""
    from windrow.scoring import work
    from windrow.scoring.fetch import byte_cache
    from windrow.scoring.report import drift
    from windrow.scoring.table import withheld
    from windrow.scoring.table.lock import OWN
    from windrow.spark import open_session
    from windrow.tracking.models import pin

    # The network is fetched while Spark starts, and loaded on the executors while the driver looks for work.
    with tempfile.TemporaryDirectory(prefix="windrow-") as scratch, ThreadPoolExecutor(1) as early:
        pinned = early.submit(pin, page, Path(scratch)).result  # an alias is resolved once
        if night := withheld.read(table.folder):
            wanted = accept or night.fresh or not drift.beyond(night.figures, scoring.drift_gate)
            if wanted and night.work == digest(scoring, table, search, pinned()):
                with table.staged(night.run_id) as rows:
                    return settle(page, table, night, rows, scoring.drift_gate, accept)
            withheld.discard(table.folder)
        with open_session(f"score {page.name}") as spark:
            at_most = tasks(spark, search.at_most)
            rehearsed = early.submit(rehearse, spark, scoring, pinned, run_id, at_most, Path(scratch))
            found = work.find(spark, table, search, lambda: pinned().identity, Path(scratch))
            if not found.urls:
                read = search.pieces and table.note(run_id, found.marks)
                return found.counts | {"table_version": read or table.version}
            plan = replace(
                rehearsed.result(), cache=byte_cache.of_folder(table.folder / OWN / "bytes", scoring.keep_mebibytes)
            )
            partitions = tasks(spark, found.urls)
            with table.staged(run_id) as rows:
                figures = add_predictions(spark, page.name, table, found, plan, partitions, rows)
                made = digest(scoring, table, search, pinned())
                night = withheld.Night(run_id, made, figures, found.due.files, found.marks, time.time())
                return settle(page, table, night, rows, scoring.drift_gate, accept)


def tasks(spark: SparkSession, urls: int | None) -> int:
    """How many tasks so many URLs are worth."""
    slots = spark.sparkContext.defaultParallelism
    return slots if urls is None else max(1, min(slots, -(-urls // IMAGES_A_TASK)))


def rehearse(
    spark: SparkSession,
    scoring: ScoringSection,
    pinned: Callable[[], Network],
    run_id: str,
    slots: int,
    scratch: Path,
) -> ScoringPlan:
    """Send the network to every host and load it on every slot; the plan of a pass."""
    from windrow.scoring import planning, rehearsal

    return rehearsal.rehearse(spark, planning.plan_with(spark, scoring, pinned(), run_id, scratch), slots)


def digest(scoring: ScoringSection, table: PredictionTable, search: FeedSearch, model: Network) -> str:
    """Identity of a run's work: see withheld.py."""
    from windrow.scoring.table import withheld

    name = f"{model.name}/{model.version}/{model.digest}"
    return withheld.digest(search.marks, table.version, name, (search.rescore, search.limit), scoring)


def add_predictions(
    spark: SparkSession,
    name: str,
    table: PredictionTable,
    found: Work,
    plan: ScoringPlan,
    partitions: int,
    rows: Path,
) -> dict[str, Any]:
    """Score what was found into a folder, and write the gallery; counts, statuses, rates and drift."""
    from windrow.scoring.report import album, drift, gallery
    from windrow.scoring.table import pending, rescoring
    from windrow.scoring.table.predictions_table import parts

    stamp = plan.stamp
    with album.of_run(table.folder, stamp.run_id, found.urls) as pictures:
        figures = pass_over(spark, found, replace(plan, album=pictures), partitions, rows)
        if found.counts["rescored"]:
            figures |= rescoring.agreement(spark, table.files(), parts(rows), stamp.identity)
        figures |= found.counts | {"model_name": stamp.model_name, "model_version": stamp.model_version}
        figures["precision"] = plan.precision
        figures |= drift.compare(figures, table.past()).figures()
        gallery.write(gallery.place(table.folder, stamp.run_id), name, figures, pictures, parts(rows))
    if found.due.files:
        pending.carry(found.due, rows / "part-carried.parquet")
    return figures


def pass_over(spark: SparkSession, found: Work, plan: ScoringPlan, partitions: int, rows: Path) -> dict[str, Any]:
    """Ask every URL and write its row; the figures of these rows."""
    from windrow.scoring import pipeline, progress
    from windrow.scoring.report import figures
    from windrow.scoring.table.predictions_table import parts, write

    slots = spark.sparkContext.defaultParallelism
    started = time.monotonic()
    with progress.shown(spark, found.urls) as address:
        write(pipeline.score(found.targets, found.urls, replace(plan, progress=address), partitions), rows)
    measured = figures.measure(parts(rows), time.monotonic() - started, slots)
    if not measured["rows"] == measured.pop("keys") == found.urls:
        raise WindrowError(
            f"every URL must get one row; got {measured['rows']} rows for {found.urls} URLs; nothing was kept"
        )
    return measured


def settle(
    page: Experiment, table: PredictionTable, night: Night, rows: Path, gate: float | None, accept: bool
) -> dict[str, Any]:
    """Commit a run's rows, or withhold them where they moved beyond the gate; its figures and the new version.

    Raises:
        DriftError: they are withheld.
    """
    from windrow.scoring.report import drift
    from windrow.scoring.table import withheld

    moved = drift.beyond(night.figures, gate)
    if moved and not accept:
        if rows.is_dir():
            withheld.keep(table.folder, rows, night)
        raise withhold(page, table, night, f"{moved}, beyond scoring.drift_gate of {gate:g}")
    if not rows.is_dir():
        withheld.restore(table.folder, night, rows)
    figures = {**night.figures, **({"drift_accepted": True} if moved else {})}
    said = {"modelName": figures["model_name"], "modelVersion": figures["model_version"], "figures": figures}
    version = table.commit(rows, night.run_id, said, night.replaced, night.marks)
    withheld.discard(table.folder)
    return figures | {"scoring": night.run_id, "table_version": version}


def withhold(page: Experiment, table: PredictionTable, night: Night, why: str) -> DriftError:
    """Tell MLflow of a run whose rows are withheld, if it is there; the sentence for people."""
    from windrow.scoring.report import gallery, text
    from windrow.tracking.scoring_runs import log_scoring

    pictures = gallery.place(table.folder, night.run_id)
    figures = {**night.figures, "scoring": night.run_id, "table": str(table.folder), "table_version": table.version}
    try:
        log_scoring(page, figures, text.note(figures, why), pictures, withheld=True)
    except TrackingError as error:
        print(f"MLflow was not told of what is withheld: {error}", file=sys.stderr)
    return DriftError(
        f"{why}: {figures['rows']:,} rows are withheld and {table.folder} is as it was; look at {pictures}; then run "
        "again with --accept-drift to commit them, or mend the feed or the model and run again without"
    )


def tell(page: Experiment, scoring: ScoringSection, table: PredictionTable, run: str | None) -> dict[str, Any]:
    """Publish the table and tell MLflow; where one of them is away, the other one is told all the same."""
    from windrow.scoring.publish import copy

    said: dict[str, Any] = {}
    failed: list[WindrowError] = []
    for step in (partial(copy.publish, scoring.publish, table.folder), partial(record, page, table, run)):
        try:
            said |= step()
        except WindrowError as error:
            failed.append(error)
    if failed:
        raise type(failed[0])("; ".join(map(str, failed)))
    return said


def record(page: Experiment, table: PredictionTable, scoring: str | None) -> dict[str, Any]:
    """Tell MLflow what the table's commits say that it has not heard; id and link there of the run `scoring`."""
    from windrow.scoring.report import gallery, text
    from windrow.tracking.scoring_runs import log_scoring

    links: dict[str, Any] = {"links": {}}
    try:
        for figures in table.untold():
            pictures = gallery.place(table.folder, figures["scoring"])
            recorded = log_scoring(page, figures, text.note(figures), pictures)
            links = recorded if figures["scoring"] == scoring else links
    except TrackingError as error:
        raise TrackingError(
            f"predictions are committed to {table.folder}, but not recorded; the next run records them: {error}"
        ) from error
    table.told()
    gallery.prune(table.folder)
    return links


if __name__ == "__main__":
    sys.exit(main())
