"""A scoring in MLflow: one run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from windrow.tracking.server import connect, experiment_id, run_link, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from windrow.experiment import Experiment

_METRICS = ("urls", "new", "already_scored", "retried", "rescored", "rows", "images_per_second", "compared", "agree")


def log_scoring(page: Experiment, figures: Mapping[str, Any]) -> dict[str, Any]:
    """One run a scoring: counts by status and rates as metrics; gives back its id and its link.

    Args:
        page: names the experiment.
        figures: as of the table's commit; `scoring` identifies it. A scoring that MLflow knows gets no second run.
    """
    from mlflow.entities import Metric, Param, RunTag

    client = connect()
    experiment = experiment_id(client, page)
    run_id = _run(client, experiment, page.name, figures["scoring"])
    now = int(time.time() * 1000)
    values = {f"status_{status}": count for status, count in figures["statuses"].items()}
    values |= {key: figures[key] for key in _METRICS if figures.get(key) is not None}
    metrics = [Metric(name, float(value), now, 0) for name, value in values.items()]
    params = [Param(key, str(figures[key])) for key in ("model_name", "model_version", "table")]
    client.log_batch(
        run_id, metrics=metrics, params=params, tags=[RunTag("windrow.table_version", str(figures["table_version"]))]
    )
    client.set_terminated(run_id, "FINISHED")
    return {"run_id": run_id, "links": run_link(experiment, run_id)}


def _run(client: MlflowClient, experiment: str, name: str, scoring: str) -> str:
    """The run of a scoring: the one that was begun when this was last tried, else a new one."""
    for run in client.search_runs([experiment], f"tags.`windrow.scoring` = '{scoring}'", max_results=1):
        return str(run.info.run_id)
    tags = {"mlflow.runName": f"score {name}", "windrow.kind": "scoring", "windrow.scoring": scoring, **versions()}
    return str(client.create_run(experiment, tags=tags).info.run_id)
