"""Connect to MLflow and check that it works; build links to its pages, and the tags that every run gets."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlencode

import windrow
from windrow import paths
from windrow.errors import TrackingError, UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    from windrow.experiment import Experiment
    from windrow.training.loop import Epoch

CHECK_SECONDS = 15.0  # on a busy machine the server may take several seconds


class LoggedRun(TypedDict):
    """A run's id in MLflow, and the addresses of MLflow's pages by name; no addresses unless MLflow is a server."""

    run_id: str
    links: dict[str, str]


def uri() -> str:
    """Return the URI of the tracking server, or of the local SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.home() / 'mlflow' / 'mlflow.db'}"


def pages() -> str:
    """Return MLflow's address for browsers: WINDROW_MLFLOW_PAGES if that is set, else the address that jobs use."""
    return (os.environ.get("WINDROW_MLFLOW_PAGES") or uri()).rstrip("/")


def connect() -> MlflowClient:
    """Check that MLflow's server answers, if there is one, and return a client.

    The client itself would retry a dead server for minutes.

    Raises:
        TrackingError: the server does not answer within seconds, or refuses the request.
    """
    address = uri()
    if address.startswith(("http://", "https://")):
        _check_server(address)
    elif address.startswith("sqlite:///"):
        Path(address.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # Airflow's task shows the links
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a job connects only to configured servers
    import mlflow

    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)
    return mlflow.MlflowClient(address, address)


def _check_server(address: str) -> None:
    """Check a server by a real API call, because /health answers 200 even if every call is refused with 403."""
    import requests

    where = f"{address.rstrip('/')}/api/2.0/mlflow/experiments/search"
    try:
        answer = requests.post(where, json={"max_results": 1}, timeout=CHECK_SECONDS, auth=credentials())
    except requests.RequestException as error:
        raise _silent(address, error) from error
    if answer.status_code == requests.codes.forbidden:
        raise TrackingError(f"MLflow at {address} refused us (403); list this host in its MLFLOW_SERVER_ALLOWED_HOSTS")
    if not answer.ok:
        raise TrackingError(f"MLflow must accept calls; {address} answered {answer.status_code}; look at its log")


def ask(path: str, **parameters: str) -> dict[str, Any] | None:
    """Ask MLflow's REST API, without its client; None if MLflow is not a server, or answers with an error.

    Raises:
        TrackingError: the server does not answer within CHECK_SECONDS.
    """
    address = uri().rstrip("/")
    if not address.startswith(("http://", "https://")):
        return None
    import requests

    where = f"{address}/api/2.0/mlflow/{path}"
    try:
        answer = requests.get(where, params=parameters, timeout=CHECK_SECONDS, auth=credentials())
        found: dict[str, Any] | None = answer.json() if answer.ok else None
    except requests.RequestException as error:
        raise _silent(address, error) from error
    return found


def _silent(address: str, error: Exception) -> TrackingError:
    return TrackingError(
        f"MLflow must answer at MLFLOW_TRACKING_URI; {address} gave {type(error).__name__}; "
        "start it, or correct the address"
    )


def credentials() -> tuple[str, str] | None:
    """Return the user name and password for MLflow; None if they are not set."""
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    return (user, password) if user and password else None


def run_link(experiment_id: str, run_id: str) -> dict[str, str]:
    """Return {"mlflow_run": the address of a run's page}; {} unless MLflow is a server."""
    address = pages()
    return (
        {"mlflow_run": f"{address}/#/experiments/{experiment_id}/runs/{run_id}"} if address.startswith("http") else {}
    )


def compare_link(experiment_id: str, run_ids: Sequence[str]) -> dict[str, str]:
    """Return {"compare": the address of the page that compares runs}.

    Return {} for fewer than two runs, or unless MLflow is a server.
    """
    address = pages()
    if not address.startswith("http") or len(run_ids) < 2:
        return {}
    asked = urlencode({"runs": json.dumps(list(run_ids)), "experiments": json.dumps([experiment_id])})
    return {"compare": f"{address}/#/compare-runs?{asked}"}


def version_link(name: str, version: str) -> dict[str, str]:
    """Return {"model_version": the address of a model version's page}; {} unless MLflow is a server."""
    address = pages()
    return {"model_version": f"{address}/#/models/{name}/versions/{version}"} if address.startswith("http") else {}


def evaluation_link(experiment_id: str, model_id: str) -> dict[str, str]:
    """Return the address of the files of a version's logged model; empty unless MLflow is a server."""
    address = pages()
    where = f"{address}/#/experiments/{experiment_id}/models/{model_id}/artifacts"
    return {"evaluation": where} if address.startswith("http") else {}


def versions() -> dict[str, str]:
    """Return tags with package versions, the code's commit, and the ids of the Airflow task, if any."""
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
    """Return WINDROW_GIT_COMMIT (set in images without a checkout), or else the checked-out commit, or None."""
    if commit := os.environ.get("WINDROW_GIT_COMMIT"):
        return commit
    command = ["git", "-C", str(paths.REPOSITORY), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def experiment_id(client: MlflowClient, page: Experiment) -> str:
    """Return the id of a page's MLflow experiment; create it if absent, and set its objective and description.

    Raises:
        UserError: the experiment was deleted in MLflow.
    """
    found = client.get_experiment_by_name(page.name)
    if found is None:
        # By default, a local SQLite store would put artifacts under the working directory.
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
    # Without this tag, MLflow's pages open in the view for prompts and traces, not for training.
    client.set_experiment_tag(identity, "mlflow.experimentKind", "custom_model_development")
    return str(identity)


def metrics_at(step: int, values: Mapping[str, float]) -> list[Metric]:
    """Return values, by name, as MLflow's metrics of one step, with the present time."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, step) for name, value in values.items()]


def epoch_metrics(first: int, epochs: Sequence[Epoch]) -> list[Metric]:
    """Return the metrics of consecutive epochs; `first` is the number of the first one, from 1, and its step."""
    return [metric for number, epoch in enumerate(epochs, first) for metric in metrics_at(number, epoch.metrics())]
