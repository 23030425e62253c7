"""Search the space of a page for the best network, and register it as champion.

1. **prepare_dataset** splits the labelled images and writes them as shards, with a manifest. If the page has a
   backbone (`network.backbone`), **embed_images** then computes the features of every new image.
2. **sweep** trains one network per point of the space, in parallel on Spark. Every trial is a run in MLflow.
3. **promote_best** trains the finalists again, reads the test split once, and moves the alias `champion` in the
   registry if the winner is better than guessing and meets the page's rule. **draw_atlas** meanwhile draws what the
   sweep found out.
4. **approve_champion** requests a person's approval if the page requires it (`promotion.approval`), or if the champion
   can't be compared by the rule alone: it knows other classes, for example. The request shows the evidence, under
   *Required Actions*. **record_decision** writes the answer and the person's name into the registry. A request without
   an answer expires after two days and is repeated twice; after that the version waits for `promote_best.py --approve`.
5. **announce_champion** starts the score DAGs that label with a new champion, and is skipped if the champion has not
   changed.

The DAG runs at the page's hour (`sweep.schedule`, UTC), and after a scoring run whose labels or scores have moved
further than `sweep.after_drift`, if the page sets these keys.

With a version's number under *Reproduce*, only the task **reproduce** runs: that version is trained again from its
record.

Trigger the DAG with the defaults to run the page as it is written. The form changes values for one run; to change
them permanently, edit the page. `airflow dags trigger train_NAME --conf '{"sweep.trials": 4}'` does the same without
a form.

A failed task is retried and continues where it stopped: finished trials are not repeated. A mistake on the page or in
the form is not retried. The run's files are under `WINDROW_HOME/runs`, in a folder named after the run.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import windrow_dags
import windrow_promotion
from airflow.sdk import DAG
from windrow_spark import SparkJob

FORM = {
    "Sweep": (
        *("sweep.trials", "sweep.stop_after", "sweep.epochs", "sweep.patience", "sweep.sampler", "sweep.pruner"),
        *("sweep.prune_after", "sweep.objective", "sweep.objectives", "sweep.seed", "sweep.warm_start"),
    ),
    "Limits": ("sweep.budget_seconds", "sweep.trial_seconds", "sweep.trial_mebibytes"),
    "Data": ("dataset.source", "dataset.image_size", "dataset.fit"),
    # Not network.backbone: a backbone needs the task embed_images, and the page decides whether the DAG has it.
    "Network": ("network.builder",),
    "Promotion": (
        *("promotion.finalists", "promotion.seeds", "promotion.prefer", "promotion.tolerance"),
        "promotion.minimum_improvement",
        *("promotion.significant", "promotion.approval", "promotion.train_on", "promotion.fine_tune"),
    ),
}
TASKS = {
    "prepare_dataset": "Downloads or reads the labelled images, splits them, and writes shards with a manifest.",
    "embed_images": "Computes the features of each new image with the page's backbone. A retry goes on where it was.",
    "sweep": "Trains one network per point of the space. A retry continues the study.",
    "draw_atlas": "Draws what moved the objective, and how much, as a page of the sweep's run in MLflow.",
    "promote_best": "Trains the finalists again, reads the test split once, and decides about the champion.",
    "approve_champion": "Asks a person whether the challenger becomes champion; skipped unless one is needed.",
    "record_decision": "Moves the champion's alias or leaves it, as the person decided, and records the person's name.",
    "reproduce": "Trains a registered version again, and reports whether metric and bits are the same.",
}
FOLDER = "{{ run_folder(dag.dag_id, run_id) }}"
DATASET = f"{FOLDER}/dataset"


def job(task_id: str, hours: int, arguments: dict[str, str], **more: Any) -> SparkJob:
    """Add a job to the DAG that is being defined, with its description from TASKS and a time limit; return the task."""
    limit = timedelta(hours=hours)
    return SparkJob(task_id=task_id, doc_md=TASKS[task_id], execution_timeout=limit, arguments=arguments, **more)


def train_dag(page: windrow_dags.Page) -> DAG:
    """Return the train DAG of a page that has a space."""
    form = windrow_dags.form(page, FORM) | {"reproduce": windrow_promotion.REPRODUCE}
    if page.experiment.network.backbone is None:
        del form["promotion.fine_tune"]  # it trains the end of a backbone
    experiment = {"experiment": str(page.path)}
    study = {**experiment, "dataset": DATASET, "study": f"{FOLDER}/study"}
    version = {"model": page.experiment.model_name, "version": "{{ params.reproduce }}", "out": f"{FOLDER}/reproduced"}
    with DAG(
        schedule=windrow_dags.training_schedule(page),
        params=windrow_dags.space_field(page, "Sweep") | form,
        user_defined_filters={"evidence": windrow_promotion.evidence},
        **windrow_dags.settings(page, "train", __doc__, page.experiment.airflow.train_minutes),
    ) as dag:
        prepare_dataset = job(
            "prepare_dataset",
            hours=2,
            arguments={**experiment, "out": DATASET, "runs": f"{FOLDER}/.."},
            outlets=[windrow_dags.dataset(page)],
            pre_execute=windrow_promotion.trains,
        )
        sweep = job("sweep", hours=24, arguments=study)
        draw_atlas = job("draw_atlas", hours=1, arguments=study)
        promote_best = job("promote_best", hours=12, arguments=study)
        approve_champion = windrow_promotion.ask_person(page, TASKS["approve_champion"])
        decision = experiment | windrow_promotion.DECISION
        record_decision = job("record_decision", hours=1, arguments=decision, job="promote_best")
        # Takes no overrides: the page that counts is the recorded one.
        job("reproduce", hours=12, arguments=version, overrides=False, pre_execute=windrow_promotion.reproduces)
        prepared = prepare_dataset
        if page.experiment.network.backbone is not None:
            prepared = job("embed_images", hours=6, arguments={**experiment, "dataset": DATASET})
            prepare_dataset >> prepared
        prepared >> sweep >> [draw_atlas, promote_best]
        promote_best >> approve_champion >> record_decision
        windrow_promotion.announce(page, promote_best.output, record_decision.output)
    return dag


for found in windrow_dags.find_pages(Path(__file__).parent / "experiments").sound:
    if found.experiment.trains:
        train_dag(found)
