"""Label the image URLs of a page's feed with the champion, or with the page's own network.

**score_images** downloads each URL that has no row yet, and each whose failure may have passed and that is due again,
decodes the image, and writes one row a URL to the predictions table: the best labels, or the reason why there are none.
What has its row costs nothing, so running it twice is safe. A new champion labels what is new from then on; with
*Re-score* a run labels the rest too. *Limit* leaves new URLs to the next run, *Dry run* only counts.

A backfill reads the feed's files of its days, one day a run, where the page's feed has `{date}` in it. What has its row
is not asked again: `airflow backfill create --dag-id score_NAME --from-date 2026-11-01 --to-date 2026-11-07
--max-active-runs 1`.

**announce_drift** is there where the page has `sweep.after_drift`: it starts the train DAG when labels or scores have
moved beyond that, and is skipped when not.

It runs at the page's hour (UTC), and at once when a train DAG announces a new champion. The form changes values for
one run, `airflow dags trigger score_NAME --conf '{"scoring.feed": "feeds/more/*.txt"}'` says the same without a form.

A failed download does not fail the task: it is a row, and later runs try again where that makes sense. Where the page
has a drift gate, a run whose labels or scores have moved beyond it fails and its rows are withheld: look at its gallery
in MLflow, then start the DAG with a larger gate to take them, or mend what is wrong and start it again. After five
failed runs in a row Airflow pauses the DAG.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import windrow_dags
import windrow_drift
from airflow.sdk import DAG, Param
from windrow_spark import SparkJob

FORM = {"Scoring": ("scoring.feed", "scoring.drift_gate")}
DAY = "{{ params.date or (dag_run.logical_date | ds if dag_run.run_type == 'backfill' else '') }}"
DATE = Param(
    None,
    type=["null", "string"],
    format="date",
    title="Day",
    section="This run",
    description_md="only the feed's files of this day, where the page's feed has `{date}` (`--date`)",
)
THIS_RUN = {
    "limit": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Limit",
        section="This run",
        description_md="new URLs that are asked at most; the next run goes on with the rest (`--limit`)",
    ),
    "rescore": Param(
        False,
        type="boolean",
        title="Re-score",
        section="This run",
        description_md="also label what earlier model versions have labelled, and compare (`--rescore`)",
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        section="This run",
        description_md="count what there is to do, ask no host and add no row (`--dry-run`)",
    ),
}
"""What the job's options ask of one run; they are no keys of the page."""


def score_dag(page: windrow_dags.Page) -> DAG:
    """The score DAG of a page that has a scoring section."""
    with DAG(
        f"score_{page.name}",
        schedule=windrow_dags.scoring_schedule(page),
        params=windrow_dags.form(page, FORM) | THIS_RUN | {"date": DATE},
        **windrow_dags.settings(page, "score", __doc__, page.experiment.airflow.score_minutes),
    ) as dag:
        score_images = SparkJob(
            task_id="score_images",
            job="score_images",
            arguments={"experiment": str(page.path), "date": DAY},
            options=tuple(THIS_RUN),
            outlets=[windrow_dags.predictions(page)],
            execution_timeout=timedelta(hours=12),
            doc_md="Labels the URLs that have no row or are due again; one row a URL.",
        )
        windrow_drift.announce(page, score_images.output)
    return dag


for found in windrow_dags.find_pages(Path(__file__).parent / "experiments").sound:
    if found.experiment.scoring is not None:
        score_dag(found)
