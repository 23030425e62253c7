"""Check services with a real request. Each function returns the problem, or None if the service works."""

from __future__ import annotations

import requests

SECONDS = 5.0


def mlflow_problem(url: str) -> str | None:
    """Check the tracking server with a request to its API, because /health answers 200 even if the API answers 403."""
    return _get(url, "/api/2.0/mlflow/experiments/search?max_results=1")[1]


def airflow_problem(url: str, part: str) -> str | None:
    """Check a part of Airflow. `part`: metadatabase, scheduler, dag_processor or triggerer."""
    response, problem = _get(url, "/api/v2/monitor/health")
    if response is None:
        return problem
    status = (response.json().get(part) or {}).get("status")
    return None if status == "healthy" else f"{part} is {status}"


def page_problem(url: str) -> str | None:
    """Check that a web page can be fetched."""
    return _get(url)[1]


def _get(url: str, path: str = "") -> tuple[requests.Response | None, str | None]:
    """Return the response and None, or None and the problem."""
    try:
        response = requests.get(f"{url}{path}", timeout=SECONDS)
    except requests.RequestException as error:
        return None, f"no answer from {url} ({type(error).__name__})"
    return (
        (response, None) if response.ok else (None, f"{response.status_code} from {url}: {response.text.strip()[:200]}")
    )
