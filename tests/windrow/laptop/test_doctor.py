"""The doctor names what is wrong and the cure, and stays calm where all is well."""

from __future__ import annotations

import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from windrow.laptop import doctor, environment, health, stack
from windrow.laptop.doctor import Finding
from windrow.laptop.services import Running
from windrow.laptop.setup import java


class Forbidding(BaseHTTPRequestHandler):
    """An MLflow behind a host name that it does not know: /health is exempt, the API is not."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 403)
        self.end_headers()
        self.wfile.write(b"OK" if self.path == "/health" else b"Invalid Host header - possible DNS rebinding attack")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def forbidding() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Forbidding) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_an_mlflow_that_refuses_its_api_is_found_out_though_its_health_is_ok(
    forbidding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert health.page_problem(f"{forbidding}/health") is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", forbidding)

    finding = only(doctor.check_mlflow())

    assert finding.found.startswith(f"403 from {forbidding}: Invalid Host header")
    host = forbidding.removeprefix("http://")
    assert finding.cure == f"start it with MLFLOW_SERVER_ALLOWED_HOSTS={host}: /health answers even so"


def test_an_mlflow_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch, free_port: object) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")  # type: ignore[operator]
    finding = only(doctor.check_mlflow())
    assert finding.found.startswith("no answer from")
    assert finding.cure == "start it, or correct MLFLOW_TRACKING_URI"


@pytest.mark.mlflow
def test_an_mlflow_that_works_is_well(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    assert only(doctor.check_mlflow()).well


def test_a_taken_port_is_told_with_its_holder() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        finding = only(doctor.check_ports({"mlflow": port}))

    assert finding.well
    assert f"{port} is taken by {psutil.Process().name()} (process {os.getpid()}); make start will use" in finding.found


def test_a_service_that_died_is_told_with_its_log() -> None:
    stack.state().note("mlflow", Running(2**22 + 1, 0.0, "somewhere/mlflow.log"))
    finding = only(doctor.check_services())
    assert (finding.subject, finding.found) == ("mlflow", "has ended")
    assert "make start" in finding.cure
    assert "somewhere/mlflow.log" in finding.cure


def test_services_that_were_never_started_are_no_problem() -> None:
    assert only(doctor.check_services()).well


@pytest.mark.parametrize(("version", "well"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)])
def test_python_must_be_one_that_the_lock_was_made_for(version: tuple[int, int], well: bool) -> None:
    assert only(doctor.check_python(version)).well is well


def test_an_environment_that_is_not_whole_or_not_of_this_lock_is_told(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("numpy==1\n")
    assert only(doctor.check_lock(tmp_path, lock)).found == "its set-up has not finished"

    (tmp_path / "windrow-lock").write_text(environment.stamp(lock))
    assert only(doctor.check_lock(tmp_path, lock)).well

    lock.write_text("numpy==2\n")
    assert "has changed" in only(doctor.check_lock(tmp_path, lock)).found


def test_versions_that_do_not_fit_each_other_are_told() -> None:
    mixed = {"pyspark": "4.2.0", "pyspark-client": "4.1.0", "pandas": "3.0.1"}
    findings = list(doctor.check_versions(mixed.__getitem__))
    assert [finding.well for finding in findings] == [False, False]
    assert "overwrite each other's files" in findings[0].cure
    assert "pandas<3" in findings[1].cure


def test_the_versions_of_this_environment_fit() -> None:
    assert all(finding.well for finding in doctor.check_versions())


def test_no_java_with_the_module_is_told_with_each_that_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "trimmed" / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho java.base@17\n")
    program.chmod(0o755)
    monkeypatch.setattr(java, "candidates", lambda: iter([tmp_path / "trimmed"]))

    finding = only(doctor.check_java())

    assert finding.found == f"{program} has no module jdk.incubator.vector"
    assert "openjdk-17-jre-headless" in finding.cure


@pytest.mark.parametrize(
    ("connection", "found"),
    [
        (None, "spark_default is local[*]"),
        (
            '{"conn_type": "spark", "host": "k8s://https://10.0.0.1:6443"}',
            "spark_default is k8s://https://10.0.0.1:6443",
        ),
    ],
)
def test_a_connection_that_needs_no_master_is_well(
    connection: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SPARK_DEFAULT", raising=False)
    if connection:
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", connection)
    assert only(doctor.check_spark()) == Finding("Spark connection", found)


def test_a_master_that_answers_is_well_and_one_that_is_away_is_told(
    monkeypatch: pytest.MonkeyPatch, free_port: object
) -> None:
    with socket.socket() as master:
        master.bind(("127.0.0.1", 0))
        master.listen()
        port = master.getsockname()[1]
        away = free_port()  # type: ignore[operator]
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", f"spark://127.0.0.1:{port}")
        assert only(doctor.check_spark()).well
        as_json = json.dumps({"conn_type": "spark", "host": f"spark://127.0.0.1:{away},127.0.0.1:{port}"})
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", as_json)
        assert only(doctor.check_spark()).well

    finding = only(doctor.check_spark())
    assert finding.found.count("Connection refused") == 2
    assert finding.cure == "start the master, or correct AIRFLOW_CONN_SPARK_DEFAULT"


@pytest.mark.parametrize("connection", ["spark://local[*]", "nonsense", "{", '{"conn_type": "spark"}'])
def test_a_connection_that_airflow_could_not_read_is_told(connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", connection)
    finding = only(doctor.check_spark())
    assert finding.found == connection
    assert "must be JSON or a URI, such as" in finding.cure


def test_every_mistake_of_a_page_is_told(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("name: good\nspace: {units: {type: int, low: 1, high: 9}}\n")
    (tmp_path / "bad.yaml").write_text("name: Bad\nspace: {}\nsweeep: {}\n")
    bad, good = doctor.check_pages(tmp_path)
    assert good.well
    assert bad.cure == "fix the mistakes on the page"
    assert all(word in bad.found for word in ("name", "space", "sweeep"))


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_DISK_BYTES", 1 << 60)
    disk, _ = doctor.check_space()
    assert "free some of it" in disk.cure


def test_exit_code_says_whether_anything_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([Finding("one", "fine")]),))
    assert doctor.main() == 0
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([Finding("one", "fine"), Finding("two", "bad", "mend it")]),))
    assert doctor.main() == 1


def test_what_is_shown_keeps_brackets_and_long_cures_whole() -> None:
    output = io.StringIO()
    cure = "write " + "a long way round " * 10 + "spark_default as local[bold]"
    doctor.show([Finding("Spark", "local[bold]"), Finding("two", "bad", cure)], Console(file=output, width=80))
    assert "local[bold]" in output.getvalue()
    assert cure in output.getvalue()
