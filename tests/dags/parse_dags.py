"""Parses a folder twice as Airflow's DAG processor does, and writes what it found as JSON.

python parse_dags.py FOLDER OUT
"""

import json
import sys
import time
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization


def main() -> None:
    folder, out = sys.argv[1:]
    DagBag(folder)  # the first parse imports what Airflow itself needs
    started = time.perf_counter()
    bag = DagBag(folder)
    seconds = time.perf_counter() - started
    again = DagBag(folder)
    values = {
        "seconds": seconds,
        "errors": {Path(name).name: text for name, text in bag.import_errors.items()},
        "dags": {dag_id: DagSerialization.to_dict(dag) for dag_id, dag in bag.dags.items()},
        "again": {dag_id: DagSerialization.to_dict(dag) for dag_id, dag in again.dags.items()},
    }
    Path(out).write_text(json.dumps(values))


main()
