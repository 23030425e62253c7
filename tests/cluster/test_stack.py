"""What `make up` brings up: healthy, for this machine alone, with limits, and as nobody special."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

PARTS = {
    *("postgres", "mlflow", "spark-master", "spark-worker"),
    *("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"),
}
EIGHT_GIBIBYTES = 8 * 1024**3


@pytest.fixture(scope="module")
def inspected(cluster: Any) -> list[dict[str, Any]]:
    """What Docker knows of every container of the stack."""
    names = cluster.compose("ps", "--quiet", *sorted(PARTS)).split()  # the demo's image server is none of them
    return json.loads(subprocess.run(["docker", "inspect", *names], capture_output=True, text=True, check=True).stdout)


def service(container: dict[str, Any]) -> str:
    return container["Config"]["Labels"]["com.docker.compose.service"]


def test_every_part_is_up_and_healthy(inspected: list[dict[str, Any]], cluster: Any) -> None:
    assert {service(container) for container in inspected} == PARTS
    assert {container["State"]["Health"]["Status"] for container in inspected} == {"healthy"}
    assert len(cluster.workers()) == 3


def test_ports_are_this_machines_alone(inspected: list[dict[str, Any]]) -> None:
    bound = [
        binding["HostIp"]
        for container in inspected
        for bindings in container["HostConfig"]["PortBindings"].values()
        for binding in bindings
    ]
    assert len(bound) == 3
    assert set(bound) == {"127.0.0.1"}


def test_two_workers_and_all_the_rest_are_limited_to_eight_gibibytes(inspected: list[dict[str, Any]]) -> None:
    limits = {service(container): container["HostConfig"]["Memory"] for container in inspected}
    assert all(limits.values())
    assert sum(limits.values()) + limits["spark-worker"] <= EIGHT_GIBIBYTES


def test_logs_rotate_and_nothing_is_pinned_to_latest(inspected: list[dict[str, Any]]) -> None:
    for container in inspected:
        assert container["HostConfig"]["LogConfig"]["Config"] == {"max-file": "3", "max-size": "10m"}
        name, _, tag = container["Config"]["Image"].partition(":")
        assert tag not in ("", "latest"), name


def test_nobody_is_root_in_what_windrow_builds(inspected: list[dict[str, Any]]) -> None:
    own = [container for container in inspected if service(container) != "postgres"]
    assert {container["Config"]["User"] for container in own} == {"windrow"}
    assert all(container["HostConfig"]["CapDrop"] == ["ALL"] for container in inspected)


def test_the_health_check_sees_a_tracking_server_that_refuses_its_jobs(cluster: Any) -> None:
    """The server answers /health even so: a check of that would call it well."""
    services = json.loads(cluster.compose("config", "--format", "json"))["services"]
    kind, check = services["mlflow"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert "mlflow:5000" in check
    check = check.replace("mlflow:5000", "$(hostname):5000").replace("'", "")
    script = f"""
        export MLFLOW_BACKEND_STORE_URI=sqlite:////tmp/mlflow.db
        serve() {{
            MLFLOW_SERVER_ALLOWED_HOSTS=$1 mlflow server --host 0.0.0.0 --port 5000 --workers 1 > /tmp/log 2>&1 &
            until curl --fail --silent http://127.0.0.1:5000/health > /dev/null; do sleep 0.5; done
            sh -c "{check}" > /dev/null && echo "well, where $2 are allowed" || echo "ill, where $2 are allowed"
            kill $! && wait
        }}
        serve elsewhere:5000 others
        serve "$(hostname):5000" all
    """
    told = cluster.compose("run", "--rm", "--no-deps", "--entrypoint", "bash", "mlflow", "-c", script)
    assert told.splitlines() == ["ill, where others are allowed", "well, where all are allowed"]


def test_no_health_check_calls_a_service_well_that_does_not_answer(cluster: Any) -> None:
    services = json.loads(cluster.compose("config", "--format", "json"))["services"]
    checks = {name: service["healthcheck"]["test"] for name, service in services.items() if "healthcheck" in service}
    assert set(checks) == PARTS
    del checks["postgres"]
    image = cluster.variables.get("WINDROW_IMAGE", "windrow:local")
    not_run = (0, 125, 126, 127)  # well; and three ways of not having asked
    for name, (kind, check) in checks.items():
        assert kind == "CMD-SHELL"
        command = ["docker", "run", "--rm", "--network", "none", image, "sh", "-c", check.replace("$$", "$")]
        assert subprocess.run(command, capture_output=True).returncode not in not_run, name


@pytest.mark.parametrize(("used", "told"), [(512, ["up", "stays"]), (1024, ["up"])])
def test_a_worker_that_counts_more_than_it_runs_leaves(cluster: Any, used: int, told: list[str]) -> None:
    """It would take nothing any more: Spark counts for ever what a master that came back has started twice."""
    services = json.loads(cluster.compose("config", "--format", "json"))["services"]
    _, check = services["spark-worker"]["healthcheck"]["test"]
    page = json.dumps({"memoryused": used, "executors": [{"memory": 512}]})
    script = f"""
        mkdir -p /tmp/page/json && echo '{page}' > /tmp/page/json/index.html
        python -m http.server --directory /tmp/page 8081 > /dev/null 2>&1 &
        until curl --fail --silent http://localhost:8081/json/ > /dev/null; do sleep 0.1; done
        echo up
        sh -c "$CHECK" > /dev/null
        sleep 5
        echo stays
    """
    assert cluster.alone("spark-worker", script, CHECK=check.replace("$$", "$")) == told


def test_executors_get_no_secrets_and_no_runs(inspected: list[dict[str, Any]]) -> None:
    """Data sets and networks come by Spark: the volume with the runs is not there to be read by luck."""
    worker = next(container for container in inspected if service(container) == "spark-worker")
    assert not [line for line in worker["Config"]["Env"] if "PASSWORD" in line or "SECRET" in line]
    mounts = {mount["Destination"] for mount in worker["Mounts"]}
    assert mounts == {"/var/lib/windrow/feeds", "/var/lib/windrow/tables"}
