"""Whom a run's note names for a job that left no cause, by Airflow's own tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import windrow_notes

DAG, RUN, TASK = "train_digits", "manual", "sweep"
OF_TASK = {"dag_id": DAG, "run_id": RUN, "task_id": TASK}
UNKNOWN = "it left no cause: its process was killed, it was marked as failed, or it could not begin; see its log"


def at(minute: float) -> datetime:
    """A time, in minutes after noon."""
    return datetime(2026, 11, 27, 12, tzinfo=UTC) + timedelta(minutes=minute)


class Tables:
    """Airflow's tables of tasks, of their earlier tries and of the audit log, with a job that has failed."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def add(self, name: str, **values: Any) -> None:
        from airflow.models.base import Base

        self.session.execute(Base.metadata.tables[name].insert().values(**values))

    def failed(self, started: float, ended: float, **values: Any) -> None:
        """The job's last try."""
        times = {"start_date": at(started), "end_date": at(ended)}
        own = {"id": uuid4(), "pool": "x", "operator": "SparkJob", "state": "failed", "try_number": 1}
        self.add("task_instance", **{**OF_TASK, **own, **times, **values})

    def tried(self, started: float, ended: float) -> None:
        """An earlier try."""
        times = {"start_date": at(started), "end_date": at(ended)}
        own = {"task_instance_id": uuid4(), "try_number": 0, "pool": "x"}
        self.add("task_instance_history", **OF_TASK, **own, **times)

    def marked(self, minute: float, by: str, **values: Any) -> None:
        """A person's request in the audit log."""
        own = {"event": "patch_task_instance", "extra": '{"new_state": "failed", "method": "PATCH"}'}
        self.add("log", **{**OF_TASK, **own, "dttm": at(minute), "owner": by, **values})

    @property
    def causes(self) -> dict[str, str]:
        run = SimpleNamespace(dag_id=DAG, run_id=RUN)
        return dict(windrow_notes._ended_from_outside(run, self.session))


@pytest.fixture
def tables() -> Iterator[Tables]:
    from airflow import models
    from airflow.models.base import Base
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    models.import_all_models()
    engine = create_engine("sqlite://")
    for name in ("task_instance", "task_instance_history", "log"):
        Base.metadata.tables[name].create(engine)
    with Session(engine) as session:
        yield Tables(session)
    engine.dispose()


@pytest.mark.parametrize("values", [{}, {"task_id": None}])
def test_the_person_who_marked_a_running_job_or_its_run_is_named(tables: Tables, values: dict[str, Any]) -> None:
    tables.marked(5, "ada", **values)
    tables.failed(0, 5.1)
    assert tables.causes == {TASK: "ada marked it as failed; a cleared task continues where it can"}


def test_a_person_who_marked_an_earlier_try_is_not_blamed_for_the_next_one(tables: Tables) -> None:
    tables.marked(5, "ada")
    tables.tried(0, 5.1)
    tables.failed(10, 20)
    assert tables.causes == {TASK: f"{UNKNOWN}; a cleared task continues where it can"}


def test_of_several_persons_the_one_who_marked_the_last_try_is_named(tables: Tables) -> None:
    tables.marked(5, "ada")
    tables.tried(0, 5.1)
    tables.marked(15, "bob")
    tables.failed(10, 15.1)
    assert tables.causes[TASK].startswith("bob marked it as failed")


def test_a_job_that_was_marked_before_it_began_names_the_person_of_that_try(tables: Tables) -> None:
    """Airflow gives it one time for start and end, a moment after the request."""
    tables.marked(5, "ada")
    tables.failed(5.1, 5.1)
    assert tables.causes[TASK].startswith("ada marked it as failed")


def test_a_cleared_job_that_could_not_begin_again_blames_nobody(tables: Tables) -> None:
    tables.marked(5, "ada")
    tables.tried(0, 5.1)
    tables.failed(0, 5.1)
    assert tables.causes[TASK].startswith(UNKNOWN)


@pytest.mark.parametrize(
    "values", [{"extra": '{"new_state": "success"}'}, {"run_id": "another"}, {"task_id": "promote_best"}]
)
def test_what_a_person_did_to_another_task_or_run_or_otherwise_is_no_mark(
    tables: Tables, values: dict[str, Any]
) -> None:
    tables.marked(5, "ada", **values)
    tables.failed(0, 6)
    assert tables.causes[TASK].startswith(UNKNOWN)


def test_only_failed_jobs_are_named(tables: Tables) -> None:
    tables.failed(0, 6, operator="HITLOperator")
    tables.failed(0, 6, task_id="prepare_dataset", state="success")
    assert tables.causes == {}
