"""Read states from Airflow's database for the Windrow page: which DAGs are paused, and which sweeps' tasks run.

Only the API server calls these functions. All parts of Airflow import this file, so the database's models are imported
inside the functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import windrow_dags

_NEWEST = 100
"""Runs of a DAG that are looked at; the page lists fewer sweeps."""


def paused(dags: Iterable[str]) -> list[str]:
    """Return those of these DAGs that Airflow knows and that are paused, in the given order."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    wanted = list(dags)
    with create_session() as session:
        ours = select(DagModel.dag_id).where(DagModel.dag_id.in_(wanted), DagModel.is_paused, ~DagModel.is_stale)
        found = set(session.scalars(ours))
    return [dag for dag in wanted if dag in found]


def sweep_tasks(dag: str) -> dict[str, str | None]:
    """Return the state of the task sweep for the newest runs of a train DAG, by the name of the run's folder."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        of_dag = select(TaskInstance.run_id, TaskInstance.state).where(
            TaskInstance.dag_id == dag, TaskInstance.task_id == "sweep"
        )
        rows = session.execute(of_dag.order_by(TaskInstance.id.desc()).limit(_NEWEST)).all()
    return {Path(windrow_dags.run_folder(dag, run)).name: state for run, state in rows}
