"""Check services with a real request. Each function returns the problem, or None if the service works."""

from __future__ import annotations

import requests

SECONDS = 5.0


def mlflow_problem(url: str) -> str | None:
    """Check the tracking server by its API: /health answers 200 even if the API answers 403."""
    try:
        address = f"{url}/api/2.0/mlflow/experiments/search"
        response = requests.get(address, params={"max_results": "1"}, timeout=SECONDS)
    except requests.RequestException as error:
        return f"no answer from {url} ({type(error).__name__})"
    return None if response.ok else f"{response.status_code} from {url}: {response.text.strip()[:200]}"


def airflow_problem(url: str, part: str) -> str | None:
    """Check a part of Airflow: metadatabase, scheduler, dag_processor or triggerer."""
    try:
        response = requests.get(f"{url}/api/v2/monitor/health", timeout=SECONDS)
    except requests.RequestException as error:
        return f"no answer from {url} ({type(error).__name__})"
    if not response.ok:
        return f"{response.status_code} from {url}"
    status = (response.json().get(part) or {}).get("status")
    return None if status == "healthy" else f"{part} is {status}"


def page_problem(url: str) -> str | None:
    """Check that a page can be shown."""
    try:
        return None if requests.get(url, timeout=SECONDS).ok else f"an error from {url}"
    except requests.RequestException as error:
        return f"no answer from {url} ({type(error).__name__})"
