"""Log scoring runs to MLflow, each as one MLflow run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from windrow.errors import TrackingError
from windrow.markdown import escaped
from windrow.scoring.report.figures import STAGES, Figures, Truth
from windrow.scoring.report.result import CommittedRun, Logged
from windrow.tracking.registry import logged_model
from windrow.tracking.server import connect, experiment_id, metrics_at, run_link, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from windrow.experiment import Experiment

_KINDS = ("mean", "p50", "p95")
_METRICS = (
    *("records", "copies", "without_url", "files_refused"),
    *("urls", "new", "already_scored", "retried", "rescored", "rows", "ok_share", "compared", "agree"),
    *("images_per_second", "urls_per_second", "slots", "ceiling_images_per_second", "share_of_ceiling"),
    *(f"{kind}_{stage}_ms" for stage in STAGES for kind in _KINDS),
    *("psi_labels", "psi_scores"),
)
_TAG_CHARACTERS = 5000  # MLflow's limit is 8,000 bytes
_TRUTH = ("images", "right", "low", "high", "baseline", "unknown")
_LOSS = ("same_labels", "score_change_mean", "score_change_max", "accuracy", "accuracy_as_it_is")


def log_scoring(
    page: Experiment, run: CommittedRun, note: str = "", gallery: Path | None = None, withheld: bool = False
) -> Logged:
    """Log a scoring run's figures, as metrics and figures.json, and its gallery; return the MLflow run's id and links.

    Args:
        page: the experiment page, whose name is that of the MLflow experiment.
        run: the scoring run; a repeated call logs to the same MLflow run.
        note: the run's description, in Markdown.
        gallery: the gallery's file; left out if it does not exist.
        withheld: whether the run's rows are withheld from the table. The run is then logged as failed, until a call
            without `withheld` corrects that.

    Raises:
        TrackingError: MLflow does not answer, or does not accept the figures.
    """
    from mlflow.exceptions import MlflowException

    client = connect()
    try:
        experiment = experiment_id(client, page)
        logged_run = _run(client, experiment, page.name, run)
        version = _version(client, run.figures)
        _log(client, logged_run, run, _with_version(note, version), withheld)
        _log_inputs(client, logged_run, page, run, version)
        client.log_dict(logged_run, run.to_json(), "figures.json")
        if gallery is not None and gallery.is_file():
            client.log_artifact(logged_run, str(gallery))
        ended = run.figures.ended_at
        client.set_terminated(logged_run, "FAILED" if withheld else "FINISHED", ended and round(ended * 1000))
    except MlflowException as error:
        raise TrackingError(f"MLflow must accept a scoring run's figures; it answered: {error.message}") from error
    links = run_link(experiment, logged_run)
    if links and gallery is not None and gallery.is_file():
        links["gallery"] = f"{links['mlflow_run']}/artifacts/{gallery.name}"
    return {"run_id": logged_run, "links": links}


def _log(client: MlflowClient, run_id: str, run: CommittedRun, note: str, withheld: bool) -> None:
    from mlflow.entities import Param, RunTag

    figures, loss = run.figures, run.figures.precision
    found = figures.to_json() | {f"precision.{key}": getattr(loss, key, None) for key in _LOSS}
    names = (*_METRICS, *(f"precision.{key}" for key in _LOSS))
    values = {f"status_{status}": float(count) for status, count in figures.statuses.items()}
    values |= {name: float(value) for name in names if isinstance(value := found.get(name), int | float)}
    values |= _of_truth(figures.truth)
    metrics = metrics_at(0, values)
    params = {
        "model_name": figures.model_name,
        "model_version": figures.model_version,
        "table": run.table,
        "precision": loss.type if loss else "as it is",
        "runtime": loss.runtime if loss else "TensorFlow",
    }
    tags = {"windrow.table_version": str(run.version), "windrow.withheld": str(withheld).lower()}
    if refused := figures.feed_faults.refused:
        tags["windrow.refused_files"] = "\n".join(map(str, refused))[:_TAG_CHARACTERS]
    tags |= {"mlflow.note.content": note} if note else {}
    client.log_batch(
        run_id,
        metrics=metrics,
        params=[Param(*pair) for pair in params.items()],
        tags=[RunTag(*pair) for pair in tags.items()],
    )


def _of_truth(truth: Truth | None) -> dict[str, float]:
    """Return the figures of a feed with true classes by metric name: accuracy, macro_f1, and truth.low and others."""
    if truth is None:
        return {}
    found = {"accuracy": truth.accuracy, "macro_f1": truth.macro_f1}
    found |= {f"truth.{name}": getattr(truth, name) for name in _TRUTH}
    return {name: float(value) for name, value in found.items() if value is not None}


def _run(client: MlflowClient, experiment: str, name: str, run: CommittedRun) -> str:
    """Return the id of the MLflow run for a scoring run: the one that an earlier call has created, else a new one."""
    for found in client.search_runs([experiment], f"tags.`windrow.scoring` = '{run.run_id}'", max_results=1):
        return str(found.info.run_id)
    tags = {"mlflow.runName": f"score {name}", "windrow.kind": "scoring", "windrow.scoring": run.run_id, **versions()}
    started = run.figures.started_at
    return str(client.create_run(experiment, started and round(started * 1000), tags).info.run_id)


def _version(client: MlflowClient, figures: Figures) -> ModelVersion | None:
    """Return the registered version that labelled; None for a network file of the page."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(figures.model_name, figures.model_version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _with_version(note: str, version: ModelVersion | None) -> str:
    """Add a link to the version's page, which works at any address of MLflow's pages."""
    if not note or version is None:
        return note
    page = f"#/models/{quote(version.name)}/versions/{version.version}"
    return f"{note}\n\nLabelled by [{escaped(version.name)} version {version.version}]({page})."


def _log_inputs(
    client: MlflowClient, run_id: str, page: Experiment, run: CommittedRun, version: ModelVersion | None
) -> None:
    """Log the feed as the run's data set, and the version's logged model as the model that it used."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput

    counts = run.figures.counts
    feed = Dataset(
        name=f"{page.name} feed",
        digest=run.run_id[:32],  # each run reads its own part of a feed, so its id stands for that part
        source_type="local",
        source=json.dumps({"feed": run.figures.feed, "table": run.table}, ensure_ascii=False),
        profile=json.dumps({"urls": counts.urls, "new": counts.new, "rows": run.figures.rows}),
    )
    model_id = logged_model(version) if version is not None else None
    models = [LoggedModelInput(model_id)] if model_id else []
    client.log_inputs(run_id, [DatasetInput(feed, [InputTag("mlflow.data.context", "scoring")])], models)
