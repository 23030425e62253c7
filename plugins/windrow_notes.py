"""Write into a run's note why it failed, so that the list of runs shows the cause without the logs.

A task stores its cause as an XCom. When a run has ended, Airflow calls the listener below, and the causes of the run's
tasks become its note: why they failed or were skipped, and what a person must do. A task that was ended from outside,
or that could not begin, stored nothing: then the note names the person who ended it, or says that no cause is known.
Text that a person has written into the note stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from airflow.plugins_manager import AirflowPlugin
from pluggy import HookimplMarker
from windrow.markdown import escaped
from windrow_process import CAUSE

hookimpl = HookimplMarker("airflow")

_LONGEST = 1000
"""Maximum length of a note in Airflow's database, in characters."""

_BY_HAND = 'state": "failed"'
"""What Airflow's audit log has of a request that marks a task or a run as failed."""

_UNKNOWN = "it left no cause: its process was killed, it was marked as failed, or it could not begin; see its log"


class Notes:
    """A listener for runs that have ended."""

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any) -> None:
        """Write the causes into the run's note."""
        _note(dag_run)

    @hookimpl
    def on_dag_run_success(self, dag_run: Any) -> None:
        """Write into the run's note why tasks were skipped, or what a person must do now."""
        _note(dag_run)


def _note(dag_run: Any) -> None:
    """Write the note. The session that the run belongs to, the scheduler's or the API server's, saves it."""
    from airflow.utils.session import create_session  # a worker that loads this plugin may have no database
    from sqlalchemy.orm import object_session

    if session := object_session(dag_run):
        _add_causes(dag_run, session)
    else:  # in dag.test() the run no longer has a session
        with create_session() as own:
            _add_causes(own.get(type(dag_run), dag_run.id), own)


def _add_causes(dag_run: Any, session: Any) -> None:
    session.flush()  # the states that a person has just set
    causes = dict(_stored(dag_run, session))
    causes |= {task: cause for task, cause in _ended_from_outside(dag_run, session) if task not in causes}
    text = "\n\n".join(f"{escaped(task)}: {escaped(cause)}" for task, cause in causes.items())
    written = dag_run.note or ""
    if text and text not in written:
        dag_run.note = "\n\n".join(filter(None, [written, text]))[:_LONGEST]


def _stored(dag_run: Any, session: Any) -> Iterator[tuple[str, str]]:
    """Yield (task, cause) for the run's tasks that stored one, oldest first."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    of_run = (XComModel.dag_id == dag_run.dag_id, XComModel.run_id == dag_run.run_id, XComModel.key == CAUSE)
    for row in session.scalars(select(XComModel).where(*of_run).order_by(XComModel.timestamp)):
        yield row.task_id, XComModel.deserialize_value(row)


def _ended_from_outside(dag_run: Any, session: Any) -> Iterator[tuple[str, str]]:
    """Yield (task, cause) for the run's failed jobs; the caller drops those that have stored a cause themselves."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    of_run = (TaskInstance.dag_id == dag_run.dag_id, TaskInstance.run_id == dag_run.run_id)
    failed = (TaskInstance.state == "failed", TaskInstance.operator == "SparkJob")
    times = (TaskInstance.start_date, TaskInstance.end_date)
    for task in session.execute(select(TaskInstance.task_id, *times).where(*of_run, *failed)):
        person = _who(dag_run, task, session)
        by = f"{person} marked it as failed" if person else _UNKNOWN
        yield task.task_id, f"{by}; a cleared task continues where it can"


def _who(dag_run: Any, task: Any, session: Any) -> str | None:
    """Return who has marked a task or its run as failed, in the task's last try; None without such a person.

    Args:
        task: its task_id, start_date and end_date.
    """
    from airflow.models.log import Log
    from sqlalchemy import or_, select

    of_run = [Log.dag_id == dag_run.dag_id, Log.run_id == dag_run.run_id, Log.extra.contains(_BY_HAND)]
    of_task = or_(Log.task_id == task.task_id, Log.task_id.is_(None))
    if (since := _began(dag_run, task, session)) is not None:
        of_run.append(Log.dttm >= since)
    newest = select(Log.owner).where(*of_run, of_task).order_by(Log.dttm.desc()).limit(1)
    owner: str | None = session.scalars(newest).first()
    return owner


def _began(dag_run: Any, task: Any, session: Any) -> datetime | None:
    """Return the time since which only a task's last try can have been marked; None for its first one, not started.

    A task that was marked before it started has one time for its start and its end, at which Airflow did so: then the
    time counts at which the try before had ended.
    """
    from airflow.models.taskinstancehistory import TaskInstanceHistory as Earlier
    from sqlalchemy import func, select

    of_task = (Earlier.dag_id == dag_run.dag_id, Earlier.run_id == dag_run.run_id, Earlier.task_id == task.task_id)
    before = session.scalar(select(func.max(Earlier.end_date)).where(*of_task))
    started = task.start_date if task.start_date != task.end_date else None
    return max(filter(None, [before, started]), default=None)


class WindrowNotes(AirflowPlugin):  # type: ignore[misc]  # Airflow is not typed strictly
    """Registers the listener."""

    name = "windrow_notes"
    listeners = (Notes(),)
