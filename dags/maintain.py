"""Keep the predictions table of a page quick and small.

**maintain** merges the many small files that nights leave behind into few large ones, and removes files that no version
of the last week has: what was replaced, and what killed runs left behind. The rows stay as they are, and older versions
of the table stay readable for a week. It scores nothing and needs neither Spark's workers nor MLflow; where a scoring
run holds the table, it fails and its retry waits.

It runs on Sundays at 05:00 UTC, or by hand: `airflow dags trigger maintain_NAME`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import windrow_dags
from airflow.sdk import DAG
from windrow_spark import SparkJob

WEEKLY = "0 5 * * 0"


def maintain_dag(page: windrow_dags.Page) -> DAG:
    """The maintain DAG of a page that has a scoring section."""
    with DAG(
        f"maintain_{page.name}",
        schedule=windrow_dags.cron(WEEKLY),
        params=windrow_dags.form(page, {}),
        **windrow_dags.settings(page, "maintain", __doc__),
    ) as dag:
        SparkJob(
            task_id="maintain",
            job="score_images",
            arguments={"experiment": str(page.path), "maintain": True},
            execution_timeout=timedelta(hours=4),
            doc_md="Merges the table's small files and removes those that nobody needs.",
        )
    return dag


for found in windrow_dags.find_pages(Path(__file__).parent / "experiments").sound:
    if found.experiment.scoring is not None:
        maintain_dag(found)
