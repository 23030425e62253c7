"""Search the space of a page, and crown the best network.

1. **prepare_dataset** splits the labelled images and writes them as shards, with a manifest.
2. **sweep** trains a network for each point of the space, side by side on Spark. Every trial is a run in MLflow.
3. **promote_best** trains the finalists again, reads the test split once, and moves the alias `champion` in the
   registry if the winner keeps the page's rule. **draw_atlas** draws beside it what the sweep has taught.
4. **approve_champion** asks a person where the page wants that (`promotion.approval`). The request shows the evidence,
   and waits under *Required Actions*; **record_decision** writes into the registry what was answered, and by whom. A
   request that nobody answers in two days is made again, twice; the version then waits for `promote_best.py --approve`.
5. **announce_champion** tells the score DAGs about a new champion. It is skipped where the old one stays.

It runs at the page's hour (`sweep.schedule`, UTC), and after a night whose labels or scores have moved further than
`sweep.after_drift`, as far as the page has either.

With a version's number under *Reproduce*, **reproduce** alone runs: it trains that version again from what is recorded.

Trigger it with the defaults to run the page as it is written. The form changes values for one run; to change them for
good, edit the page. `airflow dags trigger train_NAME --conf '{"sweep.trials": 4}'` says the same without a form.

A task that fails is tried again and goes on where it stopped: finished trials are not repeated. A mistake on the page
or in the form is not tried again. The run's files lie under `WINDROW_HOME/runs`, in a folder named after the run.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import windrow_dags
import windrow_promotion
from airflow.sdk import DAG
from windrow_spark import SparkJob

FORM = {
    "Sweep": ("sweep.trials", "sweep.epochs", "sweep.sampler", "sweep.pruner", "sweep.objective", "sweep.seed"),
    "Limits": ("sweep.budget_seconds", "sweep.trial_seconds", "sweep.trial_mebibytes"),
    "Data": ("dataset.source",),
    "Promotion": (
        *("promotion.finalists", "promotion.seeds", "promotion.minimum_improvement"),
        *("promotion.significant", "promotion.approval"),
    ),
}
RUN_FOLDER = "{{ run_folder(dag.dag_id, run_id) }}"


def train_dag(page: windrow_dags.Page) -> DAG:
    """The train DAG of a page that has a space."""
    with DAG(
        f"train_{page.name}",
        schedule=windrow_dags.training_schedule(page),
        params=windrow_dags.space_field(page, "Sweep")
        | windrow_dags.form(page, FORM)
        | {"reproduce": windrow_promotion.REPRODUCE},
        user_defined_filters={"evidence": windrow_promotion.evidence},
        **windrow_dags.settings(page, "train", __doc__, page.experiment.airflow.train_minutes),
    ) as dag:
        experiment, dataset = {"experiment": str(page.path)}, f"{RUN_FOLDER}/dataset"
        common = {**experiment, "dataset": dataset, "study": f"{RUN_FOLDER}/study"}
        prepare_dataset = SparkJob(
            task_id="prepare_dataset",
            job="prepare_dataset",
            arguments=experiment | {"out": dataset},
            outlets=[windrow_dags.dataset(page)],
            pre_execute=windrow_promotion.trains,
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
        draw_atlas = SparkJob(
            task_id="draw_atlas",
            job="draw_atlas",
            arguments=common,
            execution_timeout=timedelta(hours=1),
            doc_md="Draws what moved the objective, and how much, as a page of the sweep's run in MLflow.",
        )
        promote_best = SparkJob(
            task_id="promote_best",
            job="promote_best",
            arguments=common,
            execution_timeout=timedelta(hours=12),
            doc_md="Trains the finalists again, reads the test split once, and decides about the champion.",
        )
        approve_champion = windrow_promotion.ask_person(
            page, "Asks a person whether the challenger becomes champion; skipped unless the page wants that."
        )
        record_decision = SparkJob(
            task_id="record_decision",
            job="promote_best",
            arguments=experiment | windrow_promotion.DECISION,
            execution_timeout=timedelta(hours=1),
            doc_md="Moves the champion's alias, or leaves it, as the person has decided, and notes who that was.",
        )
        SparkJob(
            task_id="reproduce",
            job="reproduce",
            arguments={
                **{"model": page.experiment.model_name, "version": "{{ params.reproduce }}"},
                "out": f"{RUN_FOLDER}/reproduced",
            },
            overrides=False,  # the page that counts is the recorded one
            pre_execute=windrow_promotion.reproduces,
            execution_timeout=timedelta(hours=12),
            doc_md="Trains a registered version again, and says whether metric and bits are the same.",
        )
        prepare_dataset >> sweep >> [draw_atlas, promote_best]
        promote_best >> approve_champion >> record_decision
        windrow_promotion.announce(page, promote_best.output, record_decision.output)
    return dag


for found in windrow_dags.find_pages(Path(__file__).parent / "experiments").sound:
    if found.experiment.trains:
        train_dag(found)
