"""Connect to MLflow, check that it works, and collect the tags of every run."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import urlencode

import windrow
from windrow import paths
from windrow.errors import TrackingError, UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from windrow.experiment import Experiment

CHECK_SECONDS = 15.0  # a busy machine's server can take several


class LoggedRun(TypedDict):
    """A run's id in MLflow, and links for people, empty unless MLflow is a server."""

    run_id: str
    links: dict[str, str]


def uri() -> str:
    """Return the tracking server's address, or the embedded file's."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.home() / 'mlflow' / 'mlflow.db'}"


def pages() -> str:
    """Return the address of MLflow for people: WINDROW_MLFLOW_PAGES if browsers need another one than jobs."""
    return (os.environ.get("WINDROW_MLFLOW_PAGES") or uri()).rstrip("/")


def connect() -> MlflowClient:
    """Return a client after a check that it works: MLflow itself would retry a dead server for minutes.

    Raises:
        TrackingError: no answer, or a refusal, within seconds.
    """
    address = uri()
    if address.startswith(("http://", "https://")):
        _check_server(address)
    elif address.startswith("sqlite:///"):
        Path(address.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # Airflow's task has the links
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a job connects to configured servers only
    import mlflow

    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)
    return mlflow.MlflowClient(address, address)


def _check_server(address: str) -> None:
    """Make a real API call: /health answers 200 even if every call is refused with 403."""
    import requests

    where = f"{address.rstrip('/')}/api/2.0/mlflow/experiments/search"
    try:
        answer = requests.post(where, json={"max_results": 1}, timeout=CHECK_SECONDS, auth=credentials())
    except requests.RequestException as error:
        raise TrackingError(
            f"MLflow must answer at MLFLOW_TRACKING_URI; {address} gave {type(error).__name__}; "
            "start it, or correct the address"
        ) from error
    if answer.status_code == requests.codes.forbidden:
        raise TrackingError(f"MLflow at {address} refused us (403); list this host in its MLFLOW_SERVER_ALLOWED_HOSTS")
    if not answer.ok:
        raise TrackingError(f"MLflow must accept calls; {address} answered {answer.status_code}; look at its log")


def credentials() -> tuple[str, str] | None:
    """Return name and password of MLflow's login; None without a login."""
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    return (user, password) if user and password else None


def run_link(experiment_id: str, run_id: str) -> dict[str, str]:
    """Return the address of a run's page; empty unless MLflow is a server."""
    address = pages()
    return (
        {"mlflow_run": f"{address}/#/experiments/{experiment_id}/runs/{run_id}"} if address.startswith("http") else {}
    )


def compare_link(experiment_id: str, run_ids: Sequence[str]) -> dict[str, str]:
    """Return the address of the page that compares runs; empty unless MLflow is a server."""
    address = pages()
    if not address.startswith("http") or len(run_ids) < 2:
        return {}
    asked = urlencode({"runs": json.dumps(list(run_ids)), "experiments": json.dumps([experiment_id])})
    return {"compare": f"{address}/#/compare-runs?{asked}"}


def version_link(name: str, version: str) -> dict[str, str]:
    """Return the address of a model version's page; empty unless MLflow is a server."""
    address = pages()
    return {"model_version": f"{address}/#/models/{name}/versions/{version}"} if address.startswith("http") else {}


def versions() -> dict[str, str]:
    """Return tags for package versions, the code's commit, and Airflow's run, if any."""
    packages = ("tensorflow", "keras", "pyspark", "optuna", "mlflow", "numpy")
    tags = {f"windrow.version.{package}": metadata.version(package) for package in packages}
    tags["windrow.version.windrow"] = windrow.__version__
    if commit := git_commit():
        tags["mlflow.source.git.commit"] = commit
    for name in ("DAG_ID", "DAG_RUN_ID", "TASK_ID", "TRY_NUMBER"):
        if value := os.environ.get(f"AIRFLOW_CTX_{name}"):
            tags[f"airflow.{name.lower()}"] = value
    return tags


def git_commit() -> str | None:
    """Return the commit that is checked out, or WINDROW_GIT_COMMIT in an image without a checkout."""
    if commit := os.environ.get("WINDROW_GIT_COMMIT"):
        return commit
    command = ["git", "-C", str(paths.REPOSITORY), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def experiment_id(client: MlflowClient, page: Experiment) -> str:
    """Return the MLflow experiment of a page, created if absent, with the metric that MLflow's pages compare by."""
    found = client.get_experiment_by_name(page.name)
    if found is None:
        # The embedded store would put artifacts under the working directory.
        artifacts = None if uri().startswith("http") else (paths.home() / "mlflow" / "artifacts" / page.name).as_uri()
        identity = client.create_experiment(page.name, artifact_location=artifacts)
    elif found.lifecycle_stage == "deleted":
        raise UserError(
            f"the MLflow experiment {page.name!r} must be live; it is deleted; restore it, or rename the page"
        )
    else:
        identity = found.experiment_id
    client.set_experiment_tag(identity, "mlflow.experiment.primaryMetric.name", page.sweep.objective)
    greater = str(page.sweep.direction == "maximize").lower()
    client.set_experiment_tag(identity, "mlflow.experiment.primaryMetric.greaterIsBetter", greater)
    client.set_experiment_tag(identity, "mlflow.note.content", page.description)
    # Without it MLflow's pages open as for prompts and traces, not for training.
    client.set_experiment_tag(identity, "mlflow.experimentKind", "custom_model_development")
    return str(identity)
