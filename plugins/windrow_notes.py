"""Write why a run failed into the run's note, so that the list of runs shows the reason without the logs.

A SparkJob stores the cause of its failure as an XCom of its task. When a run has failed, Airflow's scheduler calls the
listener below, which adds the causes of the run's tasks to the note. Text that a person has written there stays.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin
from pluggy import HookimplMarker
from windrow_process import CAUSE

hookimpl = HookimplMarker("airflow")

_LONGEST = 1000
"""Maximum length of a note in Airflow's database, in characters."""


class FailureNotes:
    """A listener for failed runs."""

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any) -> None:
        """Add the causes to the run's note. The scheduler's session, which the run belongs to, saves the note."""
        from airflow.utils.session import create_session  # a worker that loads this plugin may have no database
        from sqlalchemy.orm import object_session

        if session := object_session(dag_run):
            _note(dag_run, session)
        else:  # in dag.test() the run no longer has a session
            with create_session() as own:
                _note(own.get(type(dag_run), dag_run.id), own)


def _note(dag_run: Any, session: Any) -> None:
    causes = "\n\n".join(f"{task}: {cause}" for task, cause in _causes(dag_run, session))
    written = dag_run.note or ""
    if causes and causes not in written:
        dag_run.note = "\n\n".join(filter(None, [written, causes]))[:_LONGEST]


def _causes(dag_run: Any, session: Any) -> list[tuple[str, str]]:
    """Return (task, cause) for each task of the run that has stored a cause, oldest first."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    of_run = (XComModel.dag_id == dag_run.dag_id, XComModel.run_id == dag_run.run_id, XComModel.key == CAUSE)
    rows = session.scalars(select(XComModel).where(*of_run).order_by(XComModel.timestamp))
    return [(row.task_id, XComModel.deserialize_value(row)) for row in rows]


class WindrowNotes(AirflowPlugin):  # type: ignore[misc]  # Airflow is not typed strictly
    """Registers the listener."""

    name = "windrow_notes"
    listeners = (FailureNotes(),)
