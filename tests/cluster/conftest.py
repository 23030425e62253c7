"""The stack of docker/compose.yaml as a project of its own, with three workers: brought up once, removed at the end.

It needs Docker. Where the public PostgreSQL image can't be pulled, database/ makes a stand-in from Debian's packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from windrow.containers import settings
from windrow.laptop.airflow_api import FINISHED, Airflow

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
COMPOSE = ("docker", "compose", "--project-directory", str(REPOSITORY / "docker"))
PROJECT = "windrow-test"
WORKERS = 3
PUBLIC_DATABASE = "postgres:17-bookworm"
STAND_IN = "windrow-test-database:debian"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lies here takes its time and half a machine: it runs only where -m names it (make test-cluster)."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(1800))


@dataclass(frozen=True)
class Cluster:
    """The stack that is up, and what tests do to it."""

    variables: dict[str, str]
    airflow: Airflow
    mlflow: str
    spark: str

    def compose(self, *arguments: str) -> str:
        """What a compose command prints; its failure is the test's."""
        return run([*COMPOSE, *arguments], self.variables)

    def make(self, *arguments: str) -> str:
        """What a make target prints."""
        return run(["make", "--silent", *arguments], self.variables, cwd=REPOSITORY)

    def containers(self, service: str) -> list[str]:
        """Ids of a service's containers, also of those that were killed."""
        return self.compose("ps", "--all", "--quiet", service).split()

    def inside(self, service: str, *command: str, stdin: str = "") -> str:
        """What a command prints in a service's container."""
        return run([*COMPOSE, "exec", "-T", service, *command], self.variables, stdin=stdin)

    def alone(self, service: str, script: str, **variables: str) -> list[str]:
        """The lines that a shell prints in a container of its own of a service, however it ends."""
        named = [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
        command = [*COMPOSE, "run", "--rm", "--no-deps", *named, "--entrypoint", "sh", service, "-c", script]
        done = subprocess.run(command, env=self.variables, capture_output=True, text=True, timeout=120)
        return done.stdout.splitlines()

    def reached(self, host: str, port: int) -> bool:
        """Whether something listens there, as seen from inside the stack."""
        probe = f"exec 3<> /dev/tcp/{host}/{port}"
        command = [*COMPOSE, "exec", "-T", "airflow-scheduler", "bash", "-c", probe]
        return subprocess.run(command, env=self.variables, capture_output=True).returncode == 0

    def workers(self) -> list[dict[str, Any]]:
        """Spark's workers that are alive, as the master knows them."""
        try:
            found = requests.get(f"{self.spark}/json/", timeout=5).json()["workers"]
        except requests.RequestException:
            return []
        return [worker for worker in found if worker["state"] == "ALIVE"]

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> None:
        """Return when the condition holds; the test fails where that takes too long."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
            time.sleep(1)

    def whole(self) -> None:
        """Return when every part is healthy and every worker is there, whatever was done to them."""
        self.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "300")
        self.wait(lambda: len(self.workers()) == WORKERS, 120, "all workers to be there")

    def give_up(self) -> None:
        """End what runs still go on, so that a test that failed leaves the next one its cluster."""
        for dag in ("train_digits", "score_digits"):
            for one in self.airflow.get(f"/dags/{dag}/dagRuns", limit=100)["dag_runs"]:
                if one["state"] not in FINISHED:
                    self.airflow._ask("PATCH", self.airflow._run(dag, one["dag_run_id"]), json={"state": "failed"})

    def start(self, dag: str, **conf: Any) -> str:
        """Trigger a DAG; the run's id."""
        self.airflow.unpause(dag)
        return self.airflow.trigger(dag, conf)

    def end_of(self, dag: str, run: str, seconds: float = 900) -> str:
        """How a run ended."""
        self.wait(lambda: self.airflow.run_state(dag, run) in FINISHED, seconds, f"{dag} {run} to end")
        return str(self.airflow.run_state(dag, run))

    def log(self, dag: str, run: str, name: str) -> str:
        """The log of a task's latest attempt."""
        task = next(task for task in self.airflow.tasks(dag, run) if task.name == name)
        return "\n".join(self.airflow.log(dag, run, task)) if task.attempt else ""


def run(command: list[str], variables: dict[str, str], stdin: str = "", cwd: Path | None = None) -> str:
    done = subprocess.run(command, env=variables, input=stdin, capture_output=True, text=True, timeout=1500, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Cluster]:
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("needs Docker: docker info must work")
    ports = {name: str(free_port()) for name in ("AIRFLOW_PORT", "MLFLOW_PORT", "SPARK_PORT")}
    variables = {
        **os.environ,
        **ports,
        "COMPOSE_FILE": os.pathsep.join([str(REPOSITORY / "docker" / "compose.yaml"), str(HERE / "small_disks.yaml")]),
        "COMPOSE_PROJECT_NAME": PROJECT,
        "POSTGRES_IMAGE": os.environ.get("POSTGRES_IMAGE") or database(),
        "SPARK_WORKERS": str(WORKERS),
        "WINDROW_SUBNET": "198.19.78.0/24",
    }
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    try:
        print(run(["make", "up"], variables, cwd=REPOSITORY))
        file = REPOSITORY / "docker" / ".env"
        password = os.environ.get("AIRFLOW_PASSWORD") or settings.read(file)["AIRFLOW_PASSWORD"]
        airflow = Airflow(urls["AIRFLOW_PORT"], "admin", password)
        airflow.log_in()
        yield Cluster(variables, airflow, urls["MLFLOW_PORT"], urls["SPARK_PORT"])
    finally:
        logs = tmp_path_factory.mktemp("logs") / "stack.log"
        with logs.open("w") as output:
            subprocess.run([*COMPOSE, "logs", "--no-color"], env=variables, stdout=output, stderr=output)
        print(f"logs of the stack: {logs}")
        run(["make", "down", "VOLUMES=1"], variables, cwd=REPOSITORY)


@pytest.fixture(scope="session")
def demo(cluster: Cluster) -> str:
    """What the demo tells. It leaves a champion, a feed and a table behind."""
    return cluster.make("demo", "TARGET=docker")


def database() -> str:
    """The public image where it is there or can be pulled, else the stand-in, built if need be."""
    for command in (["image", "inspect", PUBLIC_DATABASE], ["pull", "--quiet", PUBLIC_DATABASE]):
        if subprocess.run(["docker", *command], capture_output=True).returncode == 0:
            return PUBLIC_DATABASE
    base = [f"--build-arg=BASE_IMAGE={image}"] if (image := os.environ.get("BASE_IMAGE")) else []
    folder = str(HERE / "database")
    run(["docker", "build", "--quiet", "--tag", STAND_IN, *base, folder], dict(os.environ))
    return STAND_IN


@pytest.fixture
def mlflow_runs(cluster: Cluster) -> Callable[[str], list[dict[str, Any]]]:
    """MLflow's child runs of a sweep, by the id of its parent run."""

    def search(parent: str) -> list[dict[str, Any]]:
        experiment = requests.get(
            f"{cluster.mlflow}/api/2.0/mlflow/experiments/get-by-name", {"experiment_name": "digits"}, timeout=30
        ).json()["experiment"]["experiment_id"]
        asked = {
            "experiment_ids": [experiment],
            "filter": f"tags.`mlflow.parentRunId` = '{parent}' and tags.`windrow.kind` = 'trial'",
            "max_results": 1000,
        }
        answer = requests.post(f"{cluster.mlflow}/api/2.0/mlflow/runs/search", json=asked, timeout=30)
        return list(answer.json().get("runs", []))

    return search


@pytest.fixture
def table(cluster: Cluster) -> Callable[[], list[dict[str, Any]]]:
    """The rows of the predictions table, read inside the stack, where its volume is."""
    # File by file: a process that has read by Arrow's dataset was seen to abort on its way out, with all printed.
    script = (
        "import json, pyarrow.parquet as pq; from deltalake import DeltaTable;"
        "files = DeltaTable('/var/lib/windrow/tables/digits').file_uris(); columns = ['url', 'status', 'label'];"
        "print(json.dumps([row for file in files for row in pq.ParquetFile(file).read(columns).to_pylist()]))"
    )
    return lambda: json.loads(cluster.inside("airflow-scheduler", "python", "-c", script))
