"""A scoring in MLflow: one run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from windrow.tracking.server import connect, experiment_id, run_link, versions

if TYPE_CHECKING:
    from windrow.experiment import Experiment


def log_scoring(page: Experiment, result: Mapping[str, Any]) -> dict[str, Any]:
    """One run a scoring: counts by status and rates as metrics; gives back its id and its link."""
    from mlflow.entities import Metric, Param, RunTag

    client = connect()
    experiment = experiment_id(client, page)
    tags = {"mlflow.runName": f"score {page.name}", "windrow.kind": "scoring", **versions()}
    run_id = client.create_run(experiment, tags=tags).info.run_id
    now = int(time.time() * 1000)
    figures = {f"status_{status}": count for status, count in result["statuses"].items()}
    figures |= {key: result[key] for key in ("urls", "new", "already_scored", "rows", "images_per_second")}
    metrics = [Metric(name, float(value), now, 0) for name, value in figures.items() if value is not None]
    params = [Param(key, str(result[key])) for key in ("model_name", "model_version", "table")]
    client.log_batch(
        run_id, metrics=metrics, params=params, tags=[RunTag("windrow.table_version", str(result["table_version"]))]
    )
    client.set_terminated(run_id, "FINISHED")
    return {"run_id": run_id, "links": run_link(experiment, run_id)}
