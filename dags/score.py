"""Label the image URLs of a page's feed with the page's champion, or with another model or network that it names.

**score_images** downloads each URL that has no row yet, and each whose temporary failure is due for a retry, decodes
the image, and writes one row per URL to the predictions table: the best labels, or the reason why the URL has no label.
A URL that has its row is skipped, so running the DAG twice is safe. A row remembers which key of the page decided it:
when that key is loosened (`scoring.allow_addresses`, for example), the URL is due again. *Retry statuses* requests URLs
with these statuses once more. A new champion labels new URLs only; with *Re-score* a run also labels the URLs that
another version has labelled, and with `scoring.rescore: champion` on the page each run does, so also the first one
after a rollback. *Limit* leaves the remaining new URLs to the next run. *Dry run* only counts.

A backfill reads the feed's files of its days, one day per run, if the page's feed contains `{date}`. URLs that have a
row are skipped: `airflow backfill create --dag-id score_NAME --from-date 2026-11-01 --to-date 2026-11-07
--max-active-runs 1`.

**announce_drift** exists if the page sets `sweep.after_drift`: the task starts the train DAG when labels or scores
have moved beyond that value, and is skipped otherwise.

The DAG runs at the page's hour (`scoring.schedule`, UTC). If the page labels with its model's champion, the DAG also
runs as soon as a train DAG announces a new champion. The form changes values for one run;
`airflow dags trigger score_NAME --conf '{"scoring.feed": "feeds/more/*.txt"}'` does the same without a form.

A failed download does not fail the task: the URL gets a row, and later runs retry it where that makes sense. If too few
of a run's URLs get a label (`scoring.minimum_ok_share`), its rows are committed and the task fails, with the keys that
decided it. Its retries fail for the same reason; they contact hosts only if URLs have become due or are new. If the
page has a drift gate, a run whose labels or scores have moved beyond it fails and its rows are withheld. Then look at
the run's gallery in MLflow. To accept the rows, start the DAG with a larger gate; otherwise fix the cause and start it
again. After five failed runs in a row Airflow pauses the DAG.

Until the first champion, a run that its hour or an asset has started is skipped; one that a person has started fails.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import windrow_dags
import windrow_drift
from airflow.sdk import DAG, Param
from windrow.scoring.fetch.status import Status
from windrow_spark import SparkJob

FORM = {
    "Scoring": (
        *("scoring.feed", "scoring.drift_gate", "scoring.minimum_ok_share", "scoring.rescore"),
        "scoring.allow_addresses",
    )
}
DAY = "{{ params.date or (dag_run.logical_date | ds if dag_run.run_type == 'backfill' else '') }}"
WITHOUT_CHAMPION = "{{ 'skip' if dag_run.run_type in ('scheduled', 'asset_triggered') else 'fail' }}"
"""A run that a person has started fails without a champion: it can't do what was asked for."""

DATE = Param(
    None,
    type=["null", "string"],
    format="date",
    title="Day",
    section="This run",
    description_md="only the feed's files of this day, if the page's feed contains {date} (--date)",
)
STATUSES = [status.value for status in Status if status is not Status.OK]
THIS_RUN = {
    "limit": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Limit",
        section="This run",
        description_md="maximum number of new URLs to fetch; the next run continues with the rest (--limit)",
    ),
    "rescore": Param(
        False,
        type="boolean",
        title="Re-score",
        section="This run",
        description_md="also label the URLs that other model versions have labelled, and compare (--rescore)",
    ),
    "retry_status": Param(
        [],
        type="array",
        items={"type": "string", "enum": STATUSES},
        examples=STATUSES,
        title="Retry statuses",
        section="This run",
        description_md="request the URLs with these statuses once more, also where that is final (--retry-status)",
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        section="This run",
        description_md="only count the work: fetch nothing and add no row (--dry-run)",
    ),
}
"""Options of the job for one run; they are not keys of the page."""


def score_dag(page: windrow_dags.Page) -> DAG:
    """Return the score DAG of a page that has a scoring section."""
    with DAG(
        schedule=windrow_dags.scoring_schedule(page),
        params=windrow_dags.form(page, FORM) | THIS_RUN | {"date": DATE},
        **windrow_dags.settings(page, "score", __doc__, page.experiment.airflow.score_minutes),
    ) as dag:
        score_images = SparkJob(
            task_id="score_images",
            arguments={"experiment": str(page.path), "date": DAY, "without_champion": WITHOUT_CHAMPION},
            options=tuple(THIS_RUN),
            outlets=[windrow_dags.predictions(page)],
            execution_timeout=timedelta(hours=12),
            doc_md="Labels the URLs that have no row or are due for a retry, and writes one row per URL.",
        )
        windrow_drift.announce(page, score_images.output)
    return dag


for found in windrow_dags.find_pages(Path(__file__).parent / "experiments").sound:
    if found.experiment.scoring is not None:
        score_dag(found)
