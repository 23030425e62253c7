"""Resolve registered models, and download their files."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from windrow import paths
from windrow.errors import NoChampionError, TrackingError, UserError
from windrow.model.canaries import Canary
from windrow.model.form import Form
from windrow.model.network import Network
from windrow.scoring.network import own_network
from windrow.tracking.registry import aliased
from windrow.tracking.server import ask, connect, uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from windrow.experiment import Experiment


def fetch_model(model_uri: str, into: Path) -> Network:
    """Download the files of the version that models:/NAME@ALIAS or models:/NAME/VERSION names; return the network.

    An alias is resolved only once, and the files are written to the folder `into`.

    Raises:
        UserError: there is no such model, alias or version, Windrow did not register it, or its files are damaged.
        TrackingError: MLflow does not answer, or can't provide the files.
    """
    version = resolve(connect(), model_uri)
    import mlflow
    from mlflow.exceptions import MlflowException

    version_uri = f"models:/{version.name}/{version.version}"
    try:
        folder = Path(mlflow.artifacts.download_artifacts(version_uri, dst_path=str(into)))
    except MlflowException as error:
        message = str(error.message).partition("\n")[0]
        raise TrackingError(
            f"the files of {version_uri} must be available; got from MLflow: {message}; if a server has registered it, "
            "start that (make start does), and set MLFLOW_TRACKING_URI to its address"
        ) from error
    network, description = folder / "data" / "model.keras", folder / "MLmodel"
    with _undamaged(description, version):
        described = yaml.safe_load(description.read_text(encoding="utf-8")) if description.is_file() else None
        facts = ((described or {}).get("metadata") or {}).get("windrow")
    if described is not None and facts is None:
        raise UserError(
            f"{model_uri} must be a model that promote_best.py registered; version {version.version} is another kind"
        )
    if facts is None or not network.is_file():
        missing = (network if facts else description).name
        raise UserError(
            f"{model_uri} must have its files in MLflow; version {version.version} has no {missing} there; restore "
            "them, or give the alias to another version"
        )
    with _undamaged(description, version):
        return Network(
            name=version.name,
            version=str(version.version),
            file=network,
            digest=hashlib.sha256(network.read_bytes()).hexdigest(),
            shape=tuple(facts["shape"]),
            labels=tuple(facts["labels"]),
            form=Form(resize="crop" if facts.get("fit") == "crop" else "smooth"),
            dataset_digest=version.tags.get("windrow.dataset.digest"),
            canaries=tuple(Canary.of(one["label_ids"], one["scores"]) for one in facts.get("canaries", ())),
        )


@contextmanager
def _undamaged(file: Path, version: Any) -> Iterator[None]:
    """Turn errors in the block that come from the contents of a version's file into a UserError."""
    try:
        yield
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"models:/{version.name}/{version.version} must have whole files in MLflow; its {file.name} there is "
            "damaged; restore it, or give the alias to another version"
        ) from error


def current(page: Experiment) -> tuple[str, str] | None:
    """Return name and version of the model that labels a page's images now; None for a page with its own network file.

    A server or a SQLite file is asked without MLflow's client, whose import takes two seconds: a run without work needs
    nothing else.

    Raises:
        UserError: there is no such model, alias or version.
        TrackingError: MLflow does not answer.
    """
    if page.scoring is not None and page.scoring.network is not None:
        return None
    name, at, alias = page.champion_uri.removeprefix("models:/").partition("@")
    if not at and "/" in name:
        pinned, _, version = name.rpartition("/")
        return pinned, version
    answer = ask("registered-models/alias", name=name, alias=alias)
    if answer:
        return answer["model_version"]["name"], answer["model_version"]["version"]
    if number := _in_file(name, alias):
        return name, number
    found = resolve(connect(), page.champion_uri)
    return found.name, str(found.version)


def _in_file(name: str, alias: str) -> str | None:
    """Return the version that an alias names in MLflow's SQLite file; None if the client must be asked.

    Its tables are MLflow's own and may change. Whatever is not as expected is left to the client, which also says what
    is wrong.
    """
    scheme, _, place = uri().partition(":///")
    if scheme != "sqlite":
        return None
    try:
        address = f"{Path(place.partition('?')[0]).resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as file:
            query = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
            versions = file.execute(query, (name, alias)).fetchall()
    except sqlite3.Error:
        return None
    return str(versions[0][0]) if len(versions) == 1 else None


def pin(page: Experiment, scratch: Path, version: tuple[str, str] | None = None) -> Network:
    """Return the network for a scoring run.

    The network is the file of scoring.network, else the version that scoring.model names, else the champion. An alias
    is resolved now, unless `current` has resolved it before, and only once.

    Args:
        page: the experiment page; must have a scoring section.
        scratch: a folder for files from the registry, or from an archive.
        version: name and version that `current` returned before; None to look them up now.
    """
    if page.scoring is not None and page.scoring.network is not None:
        return own_network.bring(page.scoring.network, paths.home(), scratch)
    return fetch_model("models:/{}/{}".format(*version) if version else page.champion_uri, scratch)


def resolve(client: MlflowClient, model_uri: str) -> Any:
    """Return the version that models:/NAME@ALIAS or models:/NAME/VERSION names now.

    Raises:
        NoChampionError: no version of the model has that alias, and none was champion before.
        UserError: there is no such version, the alias was removed, or the URI is not of these forms.
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
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise TrackingError(f"MLflow could not look up {model_uri}: {error.message}") from error
        raise _missing(client, model_uri, name, alias) from error


def _missing(client: MlflowClient, model_uri: str, name: str, alias: str) -> UserError:
    """Return the error for a model, alias or version that the registry does not have, with what to do about it."""
    rule = f"{model_uri} must be in the registry; it is not"
    previous = aliased(client, name, "previous") if alias == "champion" else None
    if previous is not None:
        return UserError(
            f"{rule}: the alias was removed; promote_best.py --rollback makes version {previous.version} champion "
            "again, and --promote VERSION any other"
        )
    kind = NoChampionError if alias == "champion" else UserError
    return kind(f"{rule}; run the train DAG (or promote_best.py) first")
