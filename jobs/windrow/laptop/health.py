"""Whether a service works, asked by a real request: what is wrong, or None."""

from __future__ import annotations

import requests

SECONDS = 5.0


def mlflow_problem(url: str) -> str | None:
    """What keeps the tracking server from working. Asks its API: /health answers even where the API says 403."""
    try:
        address = f"{url}/api/2.0/mlflow/experiments/search"
        response = requests.get(address, params={"max_results": "1"}, timeout=SECONDS)
    except requests.RequestException as error:
        return f"no answer from {url} ({type(error).__name__})"
    return None if response.ok else f"{response.status_code} from {url}: {response.text.strip()[:200]}"


def airflow_problem(url: str, part: str) -> str | None:
    """What keeps a part of Airflow (metadatabase, scheduler, dag_processor, triggerer) from working."""
    try:
        response = requests.get(f"{url}/api/v2/monitor/health", timeout=SECONDS)
    except requests.RequestException as error:
        return f"no answer from {url} ({type(error).__name__})"
    if not response.ok:
        return f"{response.status_code} from {url}"
    status = (response.json().get(part) or {}).get("status")
    return None if status == "healthy" else f"{part} is {status}"


def page_problem(url: str) -> str | None:
    """What keeps a page from being shown."""
    try:
        return None if requests.get(url, timeout=SECONDS).ok else f"an error from {url}"
    except requests.RequestException as error:
        return f"no answer from {url} ({type(error).__name__})"
