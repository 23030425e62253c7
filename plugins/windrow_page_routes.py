"""Serve the routes of the Windrow page, each behind Airflow's own authentication and permissions.

Every logged-in user gets the page itself, which is the same for all. The page requests its data one DAG at a time, and
only users who may read that DAG's runs get the data. Handlers are plain functions: Airflow runs them outside its event
loop.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import windrow_dags
import windrow_states
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from airflow.configuration import conf
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from windrow import dag_ids, paths, ui
from windrow.errors import AbsentError
from windrow.ui import champions, experiments, scorings, sweeps

_log = logging.getLogger(__name__)
_ASSETS = Path(ui.__file__).parent / "assets"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",  # a browser revalidates its copy each time
}

router = APIRouter()
registry = champions.Registry()
reads_runs = Depends(requires_access_dag("GET", DagAccessEntity.RUN))


def make_app() -> FastAPI:
    """Return the page's application. Every route needs a login, and the API's description is switched off."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(get_user)])
    app.include_router(router)
    return app


@router.get("/")
def page(request: Request) -> Response:
    """Return the HTML page."""
    return _asset(request, _ASSETS / "page.html")


@router.get("/static/{name}")
def static(request: Request, name: str) -> Response:
    """Return one of the page's style sheets, scripts or icons, by file name."""
    found = {path.name: path for path in _ASSETS.iterdir() if path.suffix != ".html"}.get(name)
    if found is None:
        raise HTTPException(404, "There is no such file.")
    return _asset(request, found)


@router.get("/api/experiments")
def list_experiments(request: Request, user: GetUserDep) -> Response:
    """List the experiments with a DAG that the reader may read."""
    readable = get_auth_manager().get_authorized_dag_ids(user=user)
    return _answer(request, lambda: {"experiments": experiments.listed(readable, _models(), paths.home())})


@router.get("/api/dags/{dag_id}/paused", dependencies=[reads_runs])
def show_paused(request: Request, dag_id: str, user: GetUserDep) -> Response:
    """Return a sentence on the experiment's DAGs that the user may read and that are paused; empty if none is."""
    readable = get_auth_manager().get_authorized_dag_ids(user=user)

    def show() -> Mapping[str, object]:
        _, name = experiments.name_of(dag_id)
        own = [dag_ids.dag_id(kind, name) for kind in dag_ids.KINDS]
        off = windrow_states.paused(dag for dag in own if dag in readable)
        return {"sentence": f"{dag_ids.paused(off)}." if off else ""}

    return _answer(request, show)


@router.get("/api/dags/{dag_id}/sweeps", dependencies=[reads_runs])
def list_sweeps(request: Request, dag_id: str) -> Response:
    """List the newest sweeps of a train DAG."""
    return _answer(
        request, lambda: {"sweeps": [{"key": one.key, "words": one.words} for one in sweeps.find(_runs(dag_id))]}
    )


@router.get("/api/dags/{dag_id}/sweep", dependencies=[reads_runs])
def show_sweep(
    request: Request,
    dag_id: str,
    run_id: str | None = None,
    key: str | None = None,
    most: int = Query(50, ge=1, le=5000),
    x: str | None = None,
    y: str | None = None,
) -> Response:
    """Return a train DAG's sweep: of the run `run_id`; else the one in the folder `key`; without both, the newest."""
    folder = Path(windrow_dags.run_folder(dag_id, run_id)).name if run_id else key
    tasks = windrow_states.sweep_tasks(dag_id)

    def show() -> Mapping[str, object]:
        sweep = sweeps.choose(_runs(dag_id), folder)
        return sweeps.show(sweep, most, x, y, tasks.get(sweep.key))

    def stamp() -> str:
        sweep = sweeps.choose(_runs(dag_id), folder)
        return f"{sweep.stamp} {tasks.get(sweep.key)}"

    return _answer(request, show, stamp)


@router.get("/api/dags/{dag_id}/champions", dependencies=[reads_runs])
def show_champions(request: Request, dag_id: str) -> Response:
    """Return the versions of a train DAG's model."""

    def show() -> Mapping[str, object]:
        name = _experiment(dag_id, "train")
        return registry.show(_models().get(name, name), dag_id)

    return _answer(request, show)


@router.get("/api/dags/{dag_id}/scorings", dependencies=[reads_runs])
def show_scorings(request: Request, dag_id: str) -> Response:
    """Return the newest scoring runs in a score DAG's table."""
    return _answer(
        request, lambda: scorings.scoring_runs(_table(dag_id), dag_id), lambda: f"runs {scorings.stamp(_table(dag_id))}"
    )


@router.get("/api/dags/{dag_id}/labels", dependencies=[reads_runs])
def show_labels(request: Request, dag_id: str) -> Response:
    """Return the newest labels and pictures in a score DAG's table."""
    return _answer(
        request, lambda: scorings.labels(_table(dag_id), dag_id), lambda: f"labels {scorings.stamp(_table(dag_id))}"
    )


def _experiment(dag_id: str, kind: str) -> str:
    found, name = experiments.name_of(dag_id)
    if found != kind:
        raise AbsentError(f"{dag_id} is a {found} DAG; this is shown of {kind} DAGs.")
    return name


def _runs(dag_id: str) -> Path:
    return paths.home() / "runs" / dag_ids.dag_id("train", _experiment(dag_id, "train"))


def _table(dag_id: str) -> Path:
    return paths.home() / "tables" / _experiment(dag_id, "score")


def _models() -> dict[str, str]:
    """Return experiment name → registered model, for every experiment page without mistakes."""
    pages = windrow_dags.find_pages(Path(conf.get("core", "dags_folder")) / "experiments").sound
    return {page.name: page.experiment.model_name for page in pages}


def _answer(
    request: Request, make: Callable[[], Mapping[str, object]], stamp: Callable[[], str] | None = None
) -> Response:
    """Return the values of `make` as JSON, or an empty 304 if the reader's copy is still valid.

    Args:
        request: the request with the ETag of the reader's copy.
        make: function that reads the values. If `make` or `stamp` raises AbsentError, the response is
            {"absent": the error's message}.
        stamp: function whose text changes with the data. Without it, the JSON itself is compared.
    """
    try:
        tag = f'"{_digest(request, stamp())}"' if stamp else None
        if tag and request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers={**_HEADERS, "ETag": tag})
        values = make()
    except AbsentError as absent:
        if absent.__cause__:
            _log.warning("The Windrow page: %s", absent, exc_info=absent)
        tag, values = None, {"absent": str(absent)}
    # A broken record may have NaN, which browsers refuse as JSON. Then only this part of the page fails.
    body = json.dumps(values, allow_nan=False, separators=(",", ":")).encode()
    return _conditional(request, body, "application/json", tag)


def _asset(request: Request, path: Path) -> Response:
    return _conditional(request, path.read_bytes(), _TYPES[path.suffix])


def _conditional(request: Request, body: bytes, kind: str, tag: str | None = None) -> Response:
    tag = tag or f'"{sha256(body).hexdigest()[:20]}"'
    headers = {**_HEADERS, "ETag": tag}
    if request.headers.get("If-None-Match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=kind, headers=headers)


def _digest(request: Request, stamp: str) -> str:
    return sha256(f"{request.url.path}?{request.url.query} {stamp}".encode()).hexdigest()[:20]
