"""Jobs as tests run them: in this process on the worker's session, or by spark-submit where that is the claim."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from windrow.laptop.setup import class_archive

from harness.results import check_documented
from harness.waiting import wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
JOBS = REPOSITORY / "jobs"
SUBMIT_SECONDS = 580
"""When a spark-submit that hangs is ended; it bounds no behaviour."""


@dataclass
class Finished:
    """How a job ended: exit code, what it printed, and its result file read back ({} if there is none).

    The output has both streams, standard output first for a job in this process, as they came for spark-submit.
    """

    code: int
    output: str
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def error(self) -> str:
        """The last sentence that the job ended with; "" if none."""
        lines = [line for line in self.output.splitlines() if line.startswith("error: ")]
        return lines[-1] if lines else ""


def read_result(path: Path) -> dict[str, Any]:
    """A job's result file; {} if there is none."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def run_main(name: str, arguments: list[str]) -> int:
    """Call jobs/NAME.py's main() as its command line does; the exit code, also where argparse leaves."""
    module = importlib.import_module(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(JOBS / f"{name}.py"), *arguments])
        try:
            return int(module.main())
        except SystemExit as leaving:
            return leaving.code if isinstance(leaving.code, int) else 1


def submit_command(
    script: Path, *arguments: object, master: str = "local[2]", conf: Mapping[str, str] = {}
) -> list[str]:
    """The command line of a spark-submit, from this environment; executors' JVMs start as the driver's does."""
    settings = {"spark.ui.enabled": "false", **conf}
    if master.startswith("local-cluster"):
        settings["spark.executor.defaultJavaOptions"] = os.environ.get(class_archive.VARIABLE, class_archive.GLUE)
    return [
        *(str(Path(sys.executable).with_name("spark-submit")), "--master", master, "--driver-memory", "1g"),
        *(part for name, value in settings.items() for part in ("--conf", f"{name}={value}")),
        str(script),
        *map(str, arguments),
    ]


def submit_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a spark-submit: this environment's Python, and nothing but loopback."""
    return {
        **os.environ,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **(more or {}),
    }


def submit_job(
    name: str,
    *arguments: object,
    folder: Path,
    master: str = "local[2]",
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run jobs/NAME.py as a user does, by spark-submit, from `folder`."""
    result = folder / f"{name}-result.json"
    result.unlink(missing_ok=True)
    process = subprocess.run(
        submit_command(JOBS / f"{name}.py", *arguments, "--result", result, master=master),
        env=submit_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SUBMIT_SECONDS,
        cwd=folder,
    )
    return Finished(process.returncode, process.stdout, check_documented(name, read_result(result)))


@contextmanager
def serving(command: list[str], log: Path, url: str, seconds: float = 120) -> Iterator[None]:
    """A server in a process group of its own, from its first answer on; killed on leaving."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)

    def answers() -> bool:
        assert process.poll() is None, (
            f"the server for {url} ended with {process.returncode}: {log.read_text()[-3000:]}"
        )
        try:
            with urllib.request.urlopen(url, timeout=2):
                return True
        except OSError:
            return False

    try:
        wait_for(answers, seconds, every=0.2, otherwise=lambda: f"for {url}")
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
