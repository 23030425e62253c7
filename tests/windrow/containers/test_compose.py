"""What `make up`, `make down` and `make demo TARGET=docker` ask of Docker. A program of that name notes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from windrow.containers import compose, settings
from windrow.errors import ServiceError, UserError

DOCKER = """#!/bin/sh
echo "$@" >> "$ASKED"
case "$*" in *"$FAILS"*) echo "it broke" >&2; exit 17;; esac
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with what docker was asked, a line a call; docker fails where its arguments have FAILS in them."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("FAILS", "nothing fails")
    monkeypatch.setattr(compose, "FOLDER", tmp_path)
    for name in ("AIRFLOW_PORT", "MLFLOW_PORT", "SPARK_PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "asked"


def arguments(asked: Path) -> list[str]:
    """Compose's own arguments, call by call."""
    calls = (line.partition(f"--project-directory {asked.parent} ")[2] for line in asked.read_text().splitlines())
    return [call for call in calls if call]


def test_up_builds_first_and_then_waits_until_all_is_healthy(
    asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compose.main(["up"]) == 0
    build, up = arguments(asked)
    assert build == "build init"
    assert up.startswith("up --detach --no-build --remove-orphans --wait")
    told = capsys.readouterr().out
    assert "http://127.0.0.1:8080" in told
    assert settings.read(tmp_path / ".env")["AIRFLOW_PASSWORD"] in told


def test_ports_that_were_set_are_the_ones_that_are_told(
    asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("AIRFLOW_PORT=9001\nMLFLOW_PORT=9002\n")
    monkeypatch.setenv("MLFLOW_PORT", "9003")  # the shell's word is compose's too
    compose.main(["up"])
    told = capsys.readouterr().out
    assert "http://127.0.0.1:9001" in told
    assert "http://127.0.0.1:9003" in told


def test_down_keeps_the_data_unless_told_otherwise(asked: Path) -> None:
    assert compose.main(["down"]) == 0
    assert compose.main(["down", "--volumes"]) == 0
    assert arguments(asked) == ["--profile * down --remove-orphans", "--profile * down --remove-orphans --volumes"]


def test_the_demo_is_handed_its_arguments_and_its_exit_code_is_ours(
    asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS", "--rm")
    assert compose.main(["demo", "--experiment", "mnist", "--set", "sweep.trials=4"]) == 17
    assert arguments(asked)[-1].endswith("demo --experiment mnist --set sweep.trials=4")


def test_a_failed_build_says_where_to_look(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILS", "build init")
    with pytest.raises(ServiceError, match="docker compose build must end well; got exit code 17"):
        compose.build({})
    assert compose.main(["up"]) == 1
    assert not [call for call in arguments(asked) if call.startswith("up")]


def test_a_docker_that_does_not_answer_is_the_users_to_start(
    asked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAILS", "version --format")
    assert compose.main(["up"]) == 2
    assert "needs Docker with Compose; got 'it broke' from docker version" in capsys.readouterr().err


def test_a_machine_without_docker_is_told_what_else_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"got 'no program docker' from docker version .*use make demo without"):
        compose.check_engine()


def test_nothing_of_our_environment_is_needed() -> None:
    """On a machine with Docker and a Python, `make up` runs before anything is installed."""
    code = "import sys; sys.path.insert(0, 'jobs'); import windrow.containers.compose"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=compose.REPOSITORY, check=True)
