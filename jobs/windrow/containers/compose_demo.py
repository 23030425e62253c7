"""Run the demo inside the stack of docker/compose.yaml, where the services already run.

    make demo TARGET=docker

The demo is that of the laptop (windrow/laptop/demo.py), but the jobs run on the Spark cluster.
"""

from __future__ import annotations

import os
import sys

from windrow.dag_ids import UNPAUSE
from windrow.errors import UserError
from windrow.laptop import demo
from windrow.laptop.demo_request import DemoRequest
from windrow.laptop.stack import Stack
from windrow.laptop.watch import Reporter

AIRFLOW = "http://airflow-api-server:8080"
IMAGES = "http://images:8765"


def main() -> int:
    """Run the demo and return the exit code."""
    return demo.main(run=run)


def run(request: DemoRequest, reporter: Reporter) -> None:
    """Run the demo on the stack that this container is part of.

    Raises:
        WindrowError: the services or tasks have failed, or the table has problems.
    """
    running = around()
    demo.finish(request, running, demo.play(request, running, reporter), UNPAUSE)


def around() -> Stack:
    """Return the stack that this container is part of.

    Raises:
        UserError: this container is not part of a stack.
    """
    names = ("AIRFLOW_PASSWORD", "MLFLOW_TRACKING_URI", "WINDROW_AIRFLOW_PAGES", "WINDROW_MLFLOW_PAGES")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise UserError(
            f"this demo runs in the container that docker/compose.yaml describes; got no {', '.join(missing)}; "
            "run it as: make demo TARGET=docker"
        )
    password, mlflow, airflow_pages, mlflow_pages = (os.environ[name] for name in names)
    shown = {"airflow": airflow_pages, "mlflow": mlflow_pages}
    return Stack(AIRFLOW, mlflow, IMAGES, password, {}, shown, ended_by="make down")


if __name__ == "__main__":
    sys.exit(main())
