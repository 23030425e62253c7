"""Add the Windrow page to Airflow: an entry in the navigation, and a tab on every DAG run.

All parts of Airflow import this file, but only the API server serves the page. So the modules of the page are imported
only at the first request.
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
    """Return the page's application, with Airflow's authentication on every route."""
    from windrow_page_routes import make_app

    return make_app()


class _AtFirstRequest:
    """The application that the API server mounts. It imports the real application at the first request."""

    async def __call__(self, scope: _Scope, receive: Callable[[], Any], send: Callable[[Any], Awaitable[None]]) -> None:
        await app()(scope, receive, send)

    def __str__(self) -> str:
        return "the Windrow page"


# Airflow replaces the braces. The addresses are relative to Airflow's base URL, which may have a path.
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
    """Registers the page with Airflow."""

    name = "windrow_page"
    fastapi_apps = [{"app": _AtFirstRequest(), "url_prefix": _PREFIX, "name": "Windrow"}]
    external_views = [_NAVIGATION, _TAB]
