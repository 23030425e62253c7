"""A real Airflow with a home of its own, in processes of its own: it would take over the tests' logging and signals.

tests/dags and tests/plugins have its fixtures.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = """
name: {name}
description: Finds a small network for real digits in seconds.
space:
  learning_rate: {{type: float, low: 1e-3, high: 1e-2, log: true}}
"""


class Run(NamedTuple):
    """How `dag.test()` ended; tasks are {"state", "tries", "xcoms", "fields"} by task id."""

    state: str
    run_id: str
    note: str | None
    tasks: dict[str, dict[str, Any]]
    events: list[dict[str, Any]]
    log: str


class Airflow:
    """Airflow with its own home, database and environment."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
            "AIRFLOW__CORE__LAZY_LOAD_PLUGINS": "false",
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2]"}),
            "PYTHONPATH": str(REPOSITORY / "jobs"),
            "WINDROW_HOME": str(home / "windrow"),
        }

    def command(self, script: str, *arguments: object) -> list[str]:
        """The command line of a script of this folder."""
        return [sys.executable, str(REPOSITORY / "tests" / "dags" / script), *map(str, arguments)]

    def parse(self, *folders: Path, without_package: bool = False) -> list[dict[str, Any]]:
        """{"dags", "again", "jobs", "next", "errors"} of each DAG folder; see parse_dags.py."""
        out = self.home / "parsed.json"
        options = ["--without-package"] if without_package else []
        command = self.command("parse_dags.py", out, *options, *folders)
        subprocess.run(command, env=self.environment, check=True, timeout=120)
        found = json.loads(out.read_text())
        return [found[str(folder)] for folder in folders]

    def run(self, folder: Path, dag_id: str, conf: dict[str, Any] | None = None, **environment: str) -> Run:
        """`dag.test()` of a DAG, to its end."""
        shutil.rmtree(self.home / "dags", ignore_errors=True)
        (self.home / "dags").symlink_to(folder)  # dag.test() reads the configured folder as well
        out = self.home / "run.json"
        out.unlink(missing_ok=True)
        command = self.command("run_dag.py", folder, dag_id, json.dumps(conf or {}), out)
        file = self.home / "run.log"
        try:
            with file.open("w") as log:
                subprocess.run(command, env={**self.environment, **environment}, stdout=log, stderr=log, timeout=600)
        finally:
            (self.home / "dags").unlink()
        text = file.read_text()
        assert out.exists(), text[-8000:]
        return Run(**json.loads(out.read_text()), log=text)


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """Airflow with a new database and a Spark connection to local[2]."""
    airflow = Airflow(tmp_path_factory.mktemp("airflow"))
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env=airflow.environment, check=True, capture_output=True, timeout=120)
    return airflow


@pytest.fixture(scope="session")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """Airflow without a database, which is all that parsing takes."""
    return Airflow(tmp_path_factory.mktemp("parser"))


@pytest.fixture(scope="session")
def dag_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A copy of dags/ with other pages: dag_folder(digits="name: digits ...") writes experiments/digits.yaml."""

    def make(**pages: str) -> Path:
        folder = tmp_path_factory.mktemp("dags")
        for path in (REPOSITORY / "dags").iterdir():
            if path.is_file():
                shutil.copy(path, folder)
        (folder / "experiments").mkdir()
        for name, text in pages.items():
            (folder / "experiments" / f"{name}.yaml").write_text(text)
        return folder

    return make
