"""Resolve registered models, and download their files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from windrow import paths
from windrow.errors import TrackingError, UserError
from windrow.model.canaries import Canary
from windrow.model.network import Network
from windrow.scoring.network import own_network
from windrow.tracking.server import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from windrow.experiment import Experiment


def fetch_model(model_uri: str, into: Path) -> Network:
    """Download the files of the version that models:/NAME@ALIAS or models:/NAME/VERSION names; return the network.

    An alias is resolved only once, and the files are written to the folder `into`.

    Raises:
        UserError: there is no such model, alias or version, or Windrow did not register it.
        TrackingError: MLflow does not answer.
    """
    client = connect()
    version = resolve(client, model_uri)
    import mlflow
    from mlflow.exceptions import MlflowException

    version_uri = f"models:/{version.name}/{version.version}"
    try:
        folder = Path(mlflow.artifacts.download_artifacts(version_uri, dst_path=str(into)))
    except MlflowException as error:
        message = str(error.message).partition("\n")[0]
        raise TrackingError(
            f"the files of {version_uri} must be available; got from MLflow: {message}; if a server has registered it, "
            "start that (make demo does), and set MLFLOW_TRACKING_URI to its address"
        ) from error
    network = folder / "data" / "model.keras"
    described = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8")).get("metadata") or {}
    if not network.is_file() or "windrow" not in described:
        raise UserError(
            f"{model_uri} must be a model that promote_best.py registered; version {version.version} is another kind"
        )
    facts = described["windrow"]
    return Network(
        name=version.name,
        version=str(version.version),
        file=network,
        digest=hashlib.sha256(network.read_bytes()).hexdigest(),
        shape=tuple(facts["shape"]),
        labels=tuple(facts["labels"]),
        dataset_digest=version.tags.get("windrow.dataset.digest"),
        canaries=tuple(Canary.of(one["label_ids"], one["scores"]) for one in facts.get("canaries", ())),
    )


def pin(page: Experiment, scratch: Path) -> Network:
    """Return the network for a scoring run.

    The network is the file of scoring.network, else the version that scoring.model names, else the champion. An alias
    is resolved now, and only once.

    Args:
        page: the experiment page; must have a scoring section.
        scratch: a folder for files from the registry, or from an archive.
    """
    if page.scoring is not None and page.scoring.network is not None:
        return own_network.bring(page.scoring.network, paths.home(), scratch)
    return fetch_model(page.champion_uri, scratch)


def resolve(client: MlflowClient, model_uri: str) -> Any:
    """Return the version that models:/NAME@ALIAS or models:/NAME/VERSION names now.

    Raises:
        UserError: there is no such model, alias or version, or the URI is not of these forms.
        TrackingError: MLflow can't look it up.
    """
    from mlflow.exceptions import MlflowException

    name, at, alias = model_uri.removeprefix("models:/").partition("@")
    if not model_uri.startswith("models:/") or not (at or "/" in name):
        raise UserError(f"a model must be named as models:/NAME@ALIAS or models:/NAME/VERSION; got {model_uri!r}")
    try:
        if at:
            return client.get_model_version_by_alias(name, alias)
        return client.get_model_version(*name.rsplit("/", 1))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise UserError(
                f"{model_uri} must be in the registry; it is not; run the train DAG (or promote_best.py) first"
            ) from error
        raise TrackingError(f"MLflow could not look up {model_uri}: {error.message}") from error
