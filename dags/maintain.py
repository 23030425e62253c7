"""Keep the predictions table of a page fast and small.

**maintain** merges the many small files of past scoring runs into a few large ones. The task also removes files that no
version of the last week needs: replaced files, and leftovers of killed runs. The rows stay the same, and versions of
the last week stay readable. If the page names an object store, the table's copy there is updated, too. Nothing is
scored, so neither Spark's workers nor MLflow are needed. While a scoring run has the table locked, the task fails and
is retried.

The DAG runs on Sundays at 05:00 UTC, or by hand: `airflow dags trigger maintain_NAME`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import windrow_dags
from airflow.sdk import DAG
from windrow_spark import SparkJob

WEEKLY = "0 5 * * 0"


def maintain_dag(page: windrow_dags.Page) -> DAG:
    """Return the maintain DAG of a page that has a scoring section."""
    with DAG(
        schedule=windrow_dags.cron(WEEKLY),
        params=windrow_dags.form(page, {}),
        **windrow_dags.settings(page, "maintain", __doc__),
    ) as dag:
        SparkJob(
            task_id="maintain",
            job="score_images",
            arguments={"experiment": str(page.path), "maintain": True},
            execution_timeout=timedelta(hours=4),
            doc_md="Merges the table's small files and removes those that no version needs.",
        )
    return dag


for found in windrow_dags.find_pages(Path(__file__).parent / "experiments").sound:
    if found.experiment.scoring is not None:
        maintain_dag(found)
