"""What the stack is made of, before anything is started; the real one comes up in tests/stack."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from windrow.laptop import stack
from windrow.paths import home


def test_the_password_is_made_once_and_readable_by_its_user_only() -> None:
    password = stack.password()
    file = home() / "airflow" / "passwords.json"
    assert stack.password() == password
    assert len(password) >= 12
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_another_airflow_of_the_user_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variables would lead `db migrate` to its database."""
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production/airflow")
    monkeypatch.setenv("AIRFLOW_HOME", "/home/me/airflow")
    monkeypatch.setenv("AIRFLOW_CONFIG", "/home/me/airflow/airflow.cfg")
    ports = {"mlflow": 5001, "airflow-api": 8081, "images": 8766}

    service = stack.all_services(stack.describe(ports), ports)["airflow-scheduler"]

    variables = {**service.inherited, **service.variables}
    assert variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{home()}/airflow/airflow.db"
    assert variables["AIRFLOW_HOME"] == str(home() / "airflow")
    assert "AIRFLOW_CONFIG" not in variables


def test_a_stack_can_have_other_dags_and_users_than_the_laptops(tmp_path: Path) -> None:
    ports = dict.fromkeys(stack.PREFERRED_PORTS, 1)
    other = replace(stack.describe(ports), dags=tmp_path, users="admin:admin,viewer:viewer")
    variables = stack.all_services(other, ports)["airflow-api"].variables
    assert variables["AIRFLOW__CORE__DAGS_FOLDER"] == str(tmp_path)
    assert variables["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] == "admin:admin,viewer:viewer"


def test_what_listens_is_told_to_listen_on_this_machine_alone() -> None:
    ports = dict.fromkeys(stack.PREFERRED_PORTS, 1)
    own = stack.all_services(stack.describe(ports), ports)
    command = own["mlflow"].command
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert own["airflow-api"].variables["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert own["airflow-api"].variables["SPARK_LOCAL_IP"] == "127.0.0.1"


def test_the_users_own_spark_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", "spark://cluster:7077")
    assert stack.spark_connection() == "spark://cluster:7077"
    monkeypatch.delenv("AIRFLOW_CONN_SPARK_DEFAULT")
    assert stack.spark_connection() == '{"conn_type": "spark", "host": "local[*]"}'


def test_a_proxy_does_not_come_between_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet")
    ports = dict.fromkeys(stack.PREFERRED_PORTS, 1)
    assert stack.describe(ports).variables["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    assert os.environ["NO_PROXY"] == "intranet"


def test_a_wrong_command_is_exit_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["stack", "restart"])
    assert stack.main() == 2
    assert "up | stop" in capsys.readouterr().err


def test_stop_with_nothing_running_is_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["stack", "stop"])
    assert stack.main() == 0
    assert "nothing was running" in capsys.readouterr().out
