"""The demo inside the stack of docker/compose.yaml, where the services are there already and have names.

    make demo TARGET=docker

The same story as on a laptop, told by the same code (windrow/laptop/demo.py); the jobs run on the Spark cluster.
"""

from __future__ import annotations

import os
import sys

from windrow.errors import UserError
from windrow.laptop import demo
from windrow.laptop.demo_request import Wish
from windrow.laptop.stack import Stack
from windrow.laptop.watch import Reporter

AIRFLOW = "http://airflow-api-server:8080"
IMAGES = "http://images:8765"


def main() -> int:
    """Run the demo; the exit code."""
    return demo.main(run=run)


def run(wish: Wish, reporter: Reporter) -> None:
    """The story on the stack around this container.

    Raises:
        WindrowError: a service, a task or the table is not as it must be.
    """
    running = around()
    demo.finish(wish, running, demo.play(wish, running, reporter))


def around() -> Stack:
    """The stack that this container is a part of.

    Raises:
        UserError: this is no such container.
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
