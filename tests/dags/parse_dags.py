"""Parses folders as Airflow's DAG processor does, each twice, and writes what it found as JSON, by folder.

python parse_dags.py OUT [--without-package] FOLDER...

With --without-package the folders are parsed as if PYTHONPATH had not named jobs/.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
"""A Wednesday noon, for those who ask what a timetable does next."""


def main() -> None:
    out, *folders = sys.argv[1:]
    if without := folders[0] == "--without-package":
        folders = folders[1:]
        forget_the_package()
    Path(out).write_text(json.dumps({folder: parse(folder, without) for folder in folders}))


def forget_the_package() -> None:
    """Airflow has loaded the plugins by now, and with them the package."""
    jobs = str(Path(__file__).resolve().parents[2] / "jobs")
    sys.path[:] = [path for path in sys.path if path != jobs]
    for name in [name for name in sys.modules if name.partition(".")[0].startswith("windrow")]:
        del sys.modules[name]


def parse(folder: str, without: bool) -> dict[str, Any]:
    bag = DagBag(folder)
    again = bag if without else DagBag(folder)
    serialised = {dag_id: DagSerialization.to_dict(dag) for dag_id, dag in bag.dags.items()}
    return {
        "errors": {Path(name).name: text for name, text in bag.import_errors.items()},
        "dags": serialised,
        "again": {dag_id: DagSerialization.to_dict(dag) for dag_id, dag in again.dags.items()},
        "jobs": {
            dag_id: {task.task_id: task.job for task in dag.tasks if task.task_type == "SparkJob"}
            for dag_id, dag in bag.dags.items()
        },
        "next": {dag_id: next_run(values) for dag_id, values in serialised.items()},
    }


def next_run(serialised: dict[str, Any]) -> str | None:
    """When Airflow's scheduler would start the DAG next, were it NOW and had it never run."""
    with patch("airflow.timetables.trigger.utcnow", return_value=NOW):
        found = DagSerialization.from_dict(serialised).next_dagrun_info(last_automated_run_info=None)
    return found.run_after.isoformat() if found else None


main()
