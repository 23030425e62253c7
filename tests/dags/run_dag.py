"""Runs a DAG with `dag.test()` in a process of its own, and writes how it ended as JSON. Retries follow at once.

python run_dag.py FOLDER DAG_ID CONF OUT
"""

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select


def main() -> None:
    folder, dag_id, conf, out = sys.argv[1:]
    bag = DagBag(folder)
    assert not bag.import_errors, bag.import_errors
    for task in bag.dags[dag_id].tasks:
        task.retry_delay = timedelta(0)
    run = bag.dags[dag_id].test(run_conf=json.loads(conf))
    with create_session() as session:
        xcoms: dict[str, dict[str, Any]] = {}
        for row in session.scalars(select(XComModel).where(XComModel.dag_id == dag_id, XComModel.run_id == run.run_id)):
            xcoms.setdefault(row.task_id, {})[row.key] = XComModel.deserialize_value(row)
        fields = {
            row.task_id: row.rendered_fields
            for row in session.scalars(
                select(RenderedTaskInstanceFields).where(RenderedTaskInstanceFields.run_id == run.run_id)
            )
        }
        tasks = {
            task.task_id: {
                "state": str(task.state),
                "tries": task.try_number,
                "xcoms": xcoms.get(task.task_id, {}),
                "fields": fields.get(task.task_id),
            }
            for task in run.get_task_instances(session=session)
        }
        events = [
            {"asset": event.asset.uri, "extra": event.extra}
            for event in session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id))
        ]
        note = session.merge(run).note
        values = {"state": str(run.state), "run_id": run.run_id, "note": note, "tasks": tasks, "events": events}
    Path(out).write_text(json.dumps(values, default=str))


main()
