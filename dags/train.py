"""Search the space of a page, and crown the best network.

1. **prepare_dataset** splits the labelled images and writes them as shards, with a manifest.
2. **sweep** trains a network for each point of the space, side by side on Spark. Every trial is a run in MLflow.
3. **promote_best** trains the finalists again, reads the test split once, and moves the alias `champion` in the
   registry if the winner is better by as much as the page asks.
4. **announce_champion** tells the score DAGs about a new champion. It is skipped where the old one stays.

Trigger it with the defaults to run the page as it is written. The form changes values for one run; to change them for
good, edit the page. `airflow dags trigger train_NAME --conf '{"sweep.trials": 4}'` says the same without a form.

A task that fails is tried again and goes on where it stopped: finished trials are not repeated. A mistake on the page
or in the form is not tried again. The run's files lie under `WINDROW_HOME/runs`, in a folder named after the run.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import windrow_dags
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowSkipException
from windrow_spark import SparkJob

FORM = {
    "Sweep": ("sweep.trials", "sweep.epochs", "sweep.sampler", "sweep.pruner", "sweep.objective", "sweep.seed"),
    "Limits": ("sweep.budget_seconds", "sweep.trial_seconds", "sweep.trial_mebibytes"),
    "Data": ("dataset.source",),
    "Promotion": ("promotion.finalists", "promotion.seeds", "promotion.minimum_improvement"),
}
RUN_FOLDER = "{{ run_folder(dag.dag_id, run_id) }}"
NEWS = ("model_name", "model_version", "test_accuracy", "val_accuracy", "links")


def announce_champion(result: dict[str, Any], asset: Any, outlet_events: Any = None) -> None:
    """Emit the champion's asset event, which starts the score DAGs; skipped if the champion has not changed."""
    if not result["promoted"]:
        raise AirflowSkipException(f"the champion stays: {result.get('reason', 'the finalist is not better')}")
    outlet_events[asset].extra = {key: result[key] for key in NEWS if key in result}


def train_dag(page: windrow_dags.Page) -> DAG:
    """The train DAG of a page."""
    with DAG(
        f"train_{page.name}",
        schedule=windrow_dags.cron(page.experiment.sweep.schedule),
        params=windrow_dags.form(page, FORM),
        **windrow_dags.settings(page, "train", __doc__),
    ) as dag:
        common = {"experiment": str(page.path), "dataset": f"{RUN_FOLDER}/dataset", "study": f"{RUN_FOLDER}/study"}
        prepare = SparkJob(
            task_id="prepare_dataset",
            job="prepare_dataset",
            arguments={"experiment": str(page.path), "out": f"{RUN_FOLDER}/dataset"},
            execution_timeout=timedelta(hours=2),
            doc_md="Downloads or reads the labelled images, splits them, and writes shards with a manifest.",
        )
        sweep = SparkJob(
            task_id="sweep",
            job="sweep",
            arguments=common,
            execution_timeout=timedelta(hours=24),
            doc_md="Trains a network for each point of the space. A retry continues the study.",
        )
        promote = SparkJob(
            task_id="promote_best",
            job="promote_best",
            arguments=common,
            execution_timeout=timedelta(hours=12),
            doc_md="Trains the finalists again, reads the test split once, and decides about the champion.",
        )
        champion = windrow_dags.champion(page.experiment.model_name)
        announce = task(outlets=[champion], doc_md=announce_champion.__doc__, execution_timeout=timedelta(minutes=5))
        prepare >> sweep >> promote >> announce(announce_champion)(promote.output, champion)
    return dag


for found in windrow_dags.find_pages(Path(__file__).parent / "experiments").sound:
    train_dag(found)
