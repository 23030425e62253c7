"""Change the champion of a page by hand: roll back, promote a version of your choice, approve or reject one.

- **rollback** makes the version with the alias `previous` champion again.
- **promote** makes any version champion that a train DAG has registered. The champion becomes `previous`.
- **approve** and **reject** answer for a version that awaits a person's approval, for example after the request under
  *Required Actions* has expired.

Choose the page and the action, and give the version for all but a rollback. **change_champion** moves the aliases in
MLflow's registry and records who has triggered the run. **announce_change** starts the score DAGs that follow the
champion; it is skipped after a rejection. If the page's score DAG is paused, the run's note says how to switch it on.

`airflow dags trigger change_champion --conf '{"page": "digits", "action": "promote", "version": 3}'` does the same
without a form, and `jobs/promote_best.py` without Airflow.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import windrow_dags
import windrow_promotion
from airflow.sdk import DAG, Param
from windrow_spark import SparkJob

FOUND = windrow_dags.find_pages(Path(__file__).parent / "experiments").sound
PAGES = {page.name: str(page.path) for page in FOUND if page.experiment.trains}
ACTIONS = ["rollback", "promote", "approve", "reject"]
FORM = {
    "page": Param(
        next(iter(PAGES), None),
        type="string",
        enum=list(PAGES),
        title="Page",
        section="Champion",
        description_md="the experiment whose champion changes",
    ),
    "action": Param(
        ACTIONS[0],
        type="string",
        enum=ACTIONS,
        title="Action",
        section="Champion",
        description_md="back to the previous champion, or what to do with the version below",
    ),
    "version": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Version",
        section="Champion",
        description_md="number of the registered version; empty for a rollback",
    ),
}


def change_dag() -> DAG:
    """Make the one DAG for the champions of all pages that train."""
    with DAG(
        **windrow_dags.common_settings("change_champion", ["windrow", "champion"], __doc__),
        schedule=None,
        is_paused_upon_creation=False,  # it has no schedule, and paused it would not run for a person either
        params=FORM,
        user_defined_macros={"page_file": PAGES.get},
        render_template_as_native_obj=True,  # so that a rollback is True or False, and others None
    ) as dag:
        change_champion = SparkJob(
            task_id="change_champion",
            job="promote_best",
            arguments={"experiment": "{{ page_file(params.page) }}", **windrow_promotion.CHANGE},
            overrides=False,
            execution_timeout=timedelta(minutes=30),
            doc_md="Moves the aliases in the registry, and records who wanted it.",
        )
        followers = {page.name: windrow_promotion.followers(page) for page in FOUND if page.experiment.trains}
        windrow_promotion.announce_after(change_champion.output, followers)
    return dag


if PAGES:
    change_dag()
