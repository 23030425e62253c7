"""Download the image URLs of a feed that are new or due, label them, and add one row each to a table.

    spark-submit --master 'local[*]' jobs/score_images.py \\
        --experiment dags/experiments/digits.yaml --feed 'var/feeds/digits/*.txt' --table var/tables/digits

The labels come from the page's champion, or from another model or network that the page names.

Only what is new in the feed's files is read. A URL that has a row is not downloaded again, unless its failure may be
temporary (windrow/scoring/fetch/status.py) and the URL is due; its new row then replaces the old. With --rescore the
model also labels URLs that another model has labelled since; that row stays, and the result has the share of equal
labels.
A URL that can't be labelled gets a row with the reason, and does not fail the job. If a bug or a lost cluster fails the
job, the table is unchanged. A row remembers which key of the page decided it (scoring.max_bytes, for example), and is
due again when that key is loosened. --retry-status http_error,not_an_image requests URLs with these statuses once more.

If too few of a run's URLs get a label (scoring.minimum_ok_share), its rows are committed, and the job ends with exit
code 1.

If the page has a drift gate and labels or scores have moved beyond it, the rows are withheld: the table is unchanged,
the job ends with exit code 1 and reports what moved. With --accept-drift the withheld rows are committed, without
downloading anything again.

With --date a run reads the files of one day only, by {date} in the feed's pattern, for example to catch up on a day.
With --limit a run scores at most that many new URLs, and leaves the others to the next run. With --dry-run it only
reports what it would do: it downloads nothing and adds no row.

If the page names an object store, a copy of the table there is brought up to date at the end. If the store or MLflow
does not answer, the table is still correct, the job ends with exit code 1, and the next run catches up.

With --maintain the job scores nothing: it merges the table's small files, removes unused ones, and updates the copy.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from windrow import command, experiment, paths
from windrow.scoring.fetch.status import unlabelled

if TYPE_CHECKING:
    from windrow.experiment import Experiment, ScoringSection


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "--feed", metavar="GLOB", help="files or a folder of files with URLs; the page's scoring.feed if absent"
    )
    parser.add_argument(
        "--table", type=Path, metavar="DIR", help="predictions table; WINDROW_HOME/tables/NAME if absent"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--rescore", action="store_true", help="also label what other model versions have labelled")
    instead.add_argument("--maintain", action="store_true", help="compact and vacuum the table, and score nothing")
    parser.add_argument(
        "--dry-run", action="store_true", help="count what there is to do; download nothing, add no row"
    )
    parser.add_argument(
        "--limit", type=command.positive, metavar="N", help="score at most N new URLs; the next run takes the rest"
    )
    parser.add_argument(
        "--date", type=command.day, metavar="YYYY-MM-DD", help="the files of one day, by {date} in the feed's pattern"
    )
    parser.add_argument(
        "--accept-drift", action="store_true", help="commit rows although the page's scoring.drift_gate withholds them"
    )
    parser.add_argument(
        "--retry-status",
        type=unlabelled,
        action="extend",
        default=[],
        metavar="STATUS[,STATUS...]",
        help="request the URLs whose rows have one of these statuses once more, also where that is final; repeatable",
    )
    parser.add_argument(
        "--without-champion", choices=("fail", "skip"), default="fail", help="how a run ends while there is no champion"
    )
    arguments = parser.parse_args()
    for option in ("dry_run", "retry_status"):
        if arguments.maintain and getattr(arguments, option):
            name = f"--{option.replace('_', '-')}"
            parser.error(f"{name} must come without --maintain, which downloads nothing; remove either")
    return arguments


def main() -> int:
    """Run the job and return its exit code."""
    return command.run(score_images, parse_args())


def score_images(arguments: argparse.Namespace) -> dict[str, object]:
    """Lock the table; then score the feed, only count its URLs, or maintain the table. Return the job's result."""
    from windrow.scoring import planning
    from windrow.scoring.feed import new_urls
    from windrow.scoring.table.lock import held

    page = experiment.load(arguments.experiment, arguments.overrides)
    scoring = planning.scoring_section(page, str(arguments.experiment))
    folder = arguments.table or paths.home() / "tables" / page.name
    run_id = uuid.uuid4().hex
    if arguments.maintain:
        with held(folder, run_id):
            return maintain(scoring, folder, run_id)
    # On the command line a glob is relative to the working directory; on the page, to WINDROW_HOME.
    base = Path.cwd() if arguments.feed else paths.home()
    files = new_urls.files(new_urls.of_day(arguments.feed or scoring.feed, arguments.date), base)
    with held(folder, run_id):
        return score(page, scoring, folder, files, run_id, arguments)


def score(
    page: Experiment,
    scoring: ScoringSection,
    folder: Path,
    files: list[Path],
    run_id: str,
    arguments: argparse.Namespace,
) -> dict[str, object]:
    """Score the feed's files, or count what there is to do; print a summary and return the job's result."""
    from windrow.scoring.report import text
    from windrow.scoring.run import Options, ScoringRun
    from windrow.scoring.table.predictions_table import PredictionTable
    from windrow.tracking.on_first_use import MLflow

    retry, pattern = frozenset(arguments.retry_status), arguments.feed or scoring.feed
    options = Options(arguments.rescore, arguments.limit, arguments.accept_drift, retry, pattern)
    run = ScoringRun(page, scoring, PredictionTable(folder), run_id, options, MLflow())
    result = run.count(files) if arguments.dry_run else run.score(files)
    print(text.outlook(result) if arguments.dry_run else text.summary(result), file=sys.stderr)
    return result.to_json()


def maintain(scoring: ScoringSection, folder: Path, run_id: str) -> dict[str, object]:
    """Compact and vacuum the table, and update its copy; return the job's result."""
    from windrow.scoring.publish import copy
    from windrow.scoring.table import upkeep
    from windrow.scoring.table.predictions_table import PredictionTable

    table = PredictionTable(folder)
    copy.check(scoring.publish, table.folder)
    return {**upkeep.maintain(table, run_id), **(copy.publish(scoring.publish, table.folder) or {})}


if __name__ == "__main__":
    sys.exit(main())
