"""A scoring in MLflow: one run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.errors import TrackingError
from windrow.tracking.server import connect, experiment_id, run_link, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from windrow.experiment import Experiment

_KINDS = ("mean", "p50", "p95")
_METRICS = (
    *("urls", "new", "already_scored", "retried", "rescored", "rows", "ok_share", "compared", "agree"),
    *("images_per_second", "urls_per_second", "slots", "ceiling_images_per_second", "share_of_ceiling"),
    *(f"{kind}_{stage}_ms" for stage in ("fetch", "decode", "predict") for kind in _KINDS),
    *("psi_labels", "psi_scores"),
)
_LOSS = ("same_labels", "score_change_mean", "score_change_max", "accuracy", "accuracy_as_it_is")


def log_scoring(
    page: Experiment,
    figures: Mapping[str, Any],
    note: str = "",
    gallery: Path | None = None,
    withheld: bool = False,
) -> dict[str, Any]:
    """One run a scoring: its figures as metrics and as figures.json, its gallery; gives back its id and its link.

    Args:
        page: names the experiment.
        figures: as of the table's commit; `scoring` identifies it. A scoring that MLflow knows gets no second run.
        note: the run's description.
        gallery: a file; left out where there is none.
        withheld: whether its rows are not in the table; the run then has failed, until it is told again without.

    Raises:
        TrackingError: MLflow does not answer, or stopped taking what it is told.
    """
    from mlflow.exceptions import MlflowException

    client = connect()
    try:
        experiment = experiment_id(client, page)
        run_id = _run(client, experiment, page.name, figures["scoring"])
        _log(client, run_id, figures, note, withheld)
        client.log_dict(run_id, dict(figures), "figures.json")
        if gallery is not None and gallery.is_file():
            client.log_artifact(run_id, str(gallery))
        client.set_terminated(run_id, "FAILED" if withheld else "FINISHED")
    except MlflowException as error:
        raise TrackingError(f"MLflow must take a scoring's figures; it answered: {error.message}") from error
    links = run_link(experiment, run_id)
    if links and gallery is not None and gallery.is_file():
        links["gallery"] = f"{links['mlflow_run']}/artifacts/{gallery.name}"
    return {"run_id": run_id, "links": links}


def _log(client: MlflowClient, run_id: str, figures: Mapping[str, Any], note: str, withheld: bool) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    values = {f"status_{status}": count for status, count in figures["statuses"].items()}
    values |= {key: figures[key] for key in _METRICS if figures.get(key) is not None}
    loss = figures.get("precision") or {}
    values |= {f"precision.{key}": loss[key] for key in _LOSS if loss.get(key) is not None}
    metrics = [Metric(name, float(value), now, 0) for name, value in values.items()]
    params = [Param(key, str(figures[key])) for key in ("model_name", "model_version", "table")]
    params += [Param("precision", loss.get("type", "as it is")), Param("runtime", loss.get("runtime", "TensorFlow"))]
    tags = {"windrow.table_version": str(figures["table_version"]), "windrow.withheld": str(withheld).lower()}
    tags |= {"mlflow.note.content": note} if note else {}
    client.log_batch(run_id, metrics=metrics, params=params, tags=[RunTag(*pair) for pair in tags.items()])


def _run(client: MlflowClient, experiment: str, name: str, scoring: str) -> str:
    """The run of a scoring: the one that was begun when this was last tried, else a new one."""
    for run in client.search_runs([experiment], f"tags.`windrow.scoring` = '{scoring}'", max_results=1):
        return str(run.info.run_id)
    tags = {"mlflow.runName": f"score {name}", "windrow.kind": "scoring", "windrow.scoring": scoring, **versions()}
    return str(client.create_run(experiment, tags=tags).info.run_id)
