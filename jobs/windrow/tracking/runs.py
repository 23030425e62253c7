"""Read a sweep's runs from MLflow, for the audit of a study (sweep/audit.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from windrow.errors import TrackingError
from windrow.sweep.audit import SweepRun, TrialRun
from windrow.tracking.server import connect
from windrow.training.loop import Epoch

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_RUNS_A_PAGE = 1000
METRICS = tuple(field.name for field in fields(Epoch))


def read_runs(identity: Mapping[str, object], whole: bool = False) -> SweepRun | None:
    """Return a study's runs; None if the study's parent run is not in this MLflow, or was deleted.

    Args:
        identity: the content of the study's study.json.
        whole: whether to fetch the metrics of every epoch, which takes one call per run and metric, instead of only
            those of the last epoch.

    Raises:
        TrackingError: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    client, run_id = connect(), identity.get("run_id")
    if not isinstance(run_id, str):
        return None
    try:
        parent = client.get_run(run_id)
        children = trial_runs(client, parent.info.experiment_id, run_id)
        runs = [_trial_run(client, run, whole) for run in children]
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise TrackingError(f"MLflow must return run {run_id}; it answered: {error.message}") from error
    if parent.info.lifecycle_stage != "active":
        return None
    return SweepRun(run_id, parent.info.status, parent.data.metrics.get("trials"), runs, whole)


def trial_runs(
    client: MlflowClient, experiment: str, parent: str, condition: str = "attributes.status != ''"
) -> list[Run]:
    """Return the runs of a sweep's trials that meet a condition in MLflow's query language.

    The finalists' runs, which are children of the same parent, are left out.

    Args:
        experiment: id of the MLflow experiment.
        parent: id of the sweep's run.
    """
    query = f"tags.mlflow.parentRunId = '{parent}' and tags.windrow.kind = 'trial' and {condition}"
    found: list[Run] = []
    page = None
    while page is None or page.token:
        page = client.search_runs([experiment], query, max_results=_RUNS_A_PAGE, page_token=page and page.token)
        found += page
    return found


def _trial_run(client: MlflowClient, run: Run, whole: bool) -> TrialRun:
    tags = run.data.tags
    return TrialRun(
        number=int(tags.get("windrow.trial", -1)),
        run_id=run.info.run_id,
        status=run.info.status,
        ending=tags.get("windrow.ending", ""),
        attempt=tags.get("windrow.attempt", ""),
        params=run.data.params,
        metrics={name: _values(client, run, name, whole) for name in METRICS if name in run.data.metrics},
    )


def _values(client: MlflowClient, run: Run, name: str, whole: bool) -> Sequence[tuple[int, float]]:
    if not whole:
        return [(0, run.data.metrics[name])]
    history = client.get_metric_history(run.info.run_id, name)
    return sorted((metric.step, metric.value) for metric in history)
