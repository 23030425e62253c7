"""The Windrow page in Airflow: an entry in the navigation, and a tab on every DAG run.

Airflow runs this file in each of its parts, but only its API server serves the page: what the page needs is imported
when the first request comes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from typing import Any

from airflow.plugins_manager import AirflowPlugin

_Scope = MutableMapping[str, Any]
_PREFIX = "/windrow"


@cache
def app() -> Any:
    """The page's own application, with Airflow's authentication before every route."""
    from windrow_page_routes import make_app

    return make_app()


class _AtFirstRequest:
    """The application as the API server mounts it."""

    async def __call__(self, scope: _Scope, receive: Callable[[], Any], send: Callable[[Any], Awaitable[None]]) -> None:
        await app()(scope, receive, send)

    def __str__(self) -> str:
        return "the Windrow page"


# Airflow fills the braces. The addresses are relative to its base URL, which may have a path.
_NAVIGATION = {
    "name": "Windrow",
    "href": f"{_PREFIX[1:]}/",
    "destination": "nav",
    "nav_top_level": True,
    "icon": f"{_PREFIX[1:]}/static/icon.svg",
    "icon_dark_mode": f"{_PREFIX[1:]}/static/icon-dark.svg",
    "url_route": "windrow",
}
_TAB = {
    "name": "Windrow",
    "href": f"{_PREFIX[1:]}/?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
    "destination": "dag_run",
    "icon": f"{_PREFIX[1:]}/static/icon.svg",
    "icon_dark_mode": f"{_PREFIX[1:]}/static/icon-dark.svg",
    "url_route": "windrow_run",
}


class WindrowPage(AirflowPlugin):  # type: ignore[misc]
    """What Airflow is told of the page."""

    name = "windrow_page"
    fastapi_apps = [{"app": _AtFirstRequest(), "url_prefix": _PREFIX, "name": "Windrow"}]
    external_views = [_NAVIGATION, _TAB]
