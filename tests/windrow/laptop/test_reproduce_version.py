"""make reproduce's own part: which MLflow is asked, and what is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from windrow.laptop import reproduce_version

JOBS = Path(__file__).resolve().parents[3] / "jobs"


@pytest.mark.parametrize("wrong", ["", "latest", "-1", "1.0"])
def test_a_version_that_is_no_number_is_refused_before_anything_starts(
    wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce_version.main(["--model", "digits", f"--version={wrong}"]) == 2
    assert f"VERSION must be a version's number; got {wrong!r}" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


@pytest.mark.spark
@pytest.mark.mlflow
def test_mlflow_is_started_alone_where_none_is_named_and_an_unknown_version_ends_with_2(tmp_path: Path) -> None:
    from windrow.laptop import stack

    variables = {**os.environ, "PYTHONPATH": str(JOBS), "PYSPARK_PYTHON": sys.executable}
    command = [sys.executable, "-m", "windrow.laptop.reproduce_version", "--model", "nobody", "--version", "7"]
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=250, cwd=tmp_path)
        started = json.loads((tmp_path / "home" / "services.json").read_text())["running"]
    finally:
        stack.stop()
    assert done.returncode == 2, done.stdout + done.stderr
    assert "models:/nobody/7 must be in the registry; it is not" in done.stdout + done.stderr
    assert set(started) == {"mlflow"}
