"""Add the score DAG's second task, which starts the train DAG when labels or scores have moved.

    windrow_drift.announce(page, score_images.output)

Only a committed scoring run can start the train DAG. A run whose rows the page's drift gate withholds fails instead,
and a person must look at that run.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import windrow_dags
from airflow.sdk import task
from airflow.sdk.exceptions import AirflowSkipException
from windrow_process import JobResult

_NEWS = ("model_name", "model_version", "psi_labels", "psi_scores", "rows", "links")


def announce(page: windrow_dags.Page, scoring: Any) -> None:
    """Add the task that emits the drift asset's event; add nothing if the page has no threshold.

    Args:
        page: the page; its threshold is sweep.after_drift.
        scoring: the output of score_images.
    """
    threshold = page.experiment.sweep.after_drift
    if threshold is None:
        return
    asset = windrow_dags.drift(page)
    settings = task(outlets=[asset], doc_md=announce_drift.__doc__, execution_timeout=timedelta(minutes=5))
    settings(announce_drift)(scoring, threshold, asset)


def announce_drift(scoring: JobResult, threshold: float, asset: Any, outlet_events: Any = None) -> None:
    """Start the train DAG if labels or scores have moved beyond the page's threshold; otherwise skip."""
    moved = {name: scoring.get(f"psi_{name}") for name in ("labels", "scores")}
    if not any(value is not None and value > threshold for value in moved.values()):
        found = ", ".join(f"{name} {'not compared' if value is None else value}" for name, value in moved.items())
        raise AirflowSkipException(f"nothing has moved beyond {threshold:g}: {found}")
    outlet_events[asset].extra = {key: scoring[key] for key in _NEWS if key in scoring}
