"""Read the versions of a model from the registry, without changing anything.

A server is asked with plain HTTP requests, because MLflow's own client needs two seconds and 160 MiB to start: too much
in the process that also serves Airflow's API. A local SQLite file can be read only with that client.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from windrow.errors import TrackingError
from windrow.selection.promotion_result import PromotionResult
from windrow.tracking.registry import APPROVAL_BY, CHOSEN_BY, RESULT
from windrow.tracking.server import connect, credentials, uri

_SECONDS = 5.0
_MOST_VERSIONS = 200
_NEWEST = "version_number DESC"


@dataclass(frozen=True)
class Version:
    """A registered version of a model.

    Attributes:
        at: Unix time of the registration.
        aliases: the names of all aliases of the version, such as champion, sorted; may be empty.
        result: the result of the version's promotion; None before the decision.
        approved_by: the person who approved or rejected the version; empty if nobody did.
        chosen_by: the person who last made the version champion by a choice or a rollback; empty if nobody did.
    """

    number: int
    at: float
    aliases: tuple[str, ...] = ()
    result: PromotionResult | None = None
    approved_by: str = ""
    chosen_by: str = ""


def versions(model: str) -> list[Version]:
    """Return at most 200 versions of a model, newest first; empty for an unknown model.

    Raises:
        TrackingError: MLflow does not answer, or refuses the request.
    """
    read = _of_server if uri().startswith(("http://", "https://")) else _of_file
    return sorted(read(model), key=lambda version: -version.number)


def _of_server(model: str) -> Iterator[Version]:
    query: dict[str, str | int] = {"filter": f"name = '{_quoted(model)}'", "max_results": _MOST_VERSIONS}
    found = _get("model-versions/search", query | {"order_by": _NEWEST}).get("model_versions", [])
    details = _get("registered-models/get", {"name": model}) if found else {}
    aliases = {one["alias"]: str(one["version"]) for one in details.get("registered_model", {}).get("aliases", [])}
    for version in found:
        tags = {tag["key"]: tag["value"] for tag in version.get("tags", [])}
        yield _version(str(version["version"]), int(version["creation_timestamp"]), aliases, tags)


def _get(path: str, query: Mapping[str, str | int]) -> dict[str, Any]:
    """Send a GET request to the tracking server's API; return {} if it answers 404."""
    import requests

    where = f"{uri().rstrip('/')}/api/2.0/mlflow/{path}"
    try:
        answer = requests.get(where, params=query, timeout=_SECONDS, auth=credentials())
    except requests.RequestException as error:
        raise TrackingError(
            f"MLflow must answer at MLFLOW_TRACKING_URI; got {type(error).__name__}; start it"
        ) from error
    if answer.status_code == requests.codes.not_found:
        return {}
    if not answer.ok:
        raise TrackingError(f"MLflow must accept calls; it answered {answer.status_code}; look at its log")
    return dict(answer.json())


def _of_file(model: str) -> Iterator[Version]:
    from mlflow.exceptions import MlflowException

    client = connect()
    try:
        found = client.search_model_versions(f"name = '{_quoted(model)}'", _MOST_VERSIONS, [_NEWEST])
        aliases = dict(client.get_registered_model(model).aliases) if found else {}
    except MlflowException as error:
        raise TrackingError(f"MLflow's file must be readable; got: {error.message}; see MLFLOW_TRACKING_URI") from error
    named = {alias: str(number) for alias, number in aliases.items()}
    for version in found:
        yield _version(str(version.version), int(version.creation_timestamp), named, version.tags)


def _version(number: str, milliseconds: int, aliases: Mapping[str, str], tags: Mapping[str, str]) -> Version:
    return Version(
        number=int(number),
        at=milliseconds / 1000,
        aliases=tuple(sorted(alias for alias, named in aliases.items() if named == number)),
        result=PromotionResult.from_json(json.loads(tags[RESULT])) if RESULT in tags else None,
        approved_by=tags.get(APPROVAL_BY, ""),
        chosen_by=tags.get(CHOSEN_BY, ""),
    )


def _quoted(model: str) -> str:
    return model.replace("'", "''")
