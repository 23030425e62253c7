"""Windrow as a user runs it: spark-submit jobs/NAME.py with a page. Nothing of its code is imported here.

The checkout that is measured can be another one than this: --windrow DIR of the scripts.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
WORK = Path(os.environ.get("BENCH_WORK") or REPOSITORY / "var" / "bench")
"""Where everything is made; in a container of the stack the checkout can't be written to."""


class JobError(Exception):
    """A job or a peer that did not end well; the message has the end of its log."""


def submit(checkout: Path, name: str, folder: Path, slots: int, *arguments: object, timeout: float = 3600) -> Any:
    """Run jobs/NAME.py on local[slots] with everything that it makes under `folder`; its result."""
    result, script = folder / f"{name}-result.json", checkout / "jobs" / f"{name}.py"
    submit_script(f"local[{slots}]", script, folder, *arguments, "--result", result, timeout=timeout)
    return json.loads(result.read_text())


def submit_script(master: str, script: Path, folder: Path, *arguments: object, timeout: float) -> None:
    """Run a script with spark-submit, with everything that it makes under `folder`."""
    spark = importlib.util.find_spec("pyspark")
    if spark is None or spark.origin is None:
        raise JobError(
            f"{sys.executable} must have pyspark; run bench/environment.py, and this with var/bench/venv's python"
        )
    command = [
        *(str(Path(spark.origin).parent / "bin" / "spark-submit"), "--master", master, "--driver-memory", "1g"),
        *("--conf", "spark.ui.enabled=false", "--conf", "spark.executor.memory=512m", str(script)),
        *map(str, arguments),
    ]
    variables = environment(folder)
    if master.startswith("spark://"):
        del variables["SPARK_LOCAL_IP"]  # executors on other machines must reach the driver
    run(command, folder / f"{script.stem}.log", variables, timeout)


def replay(master: str, folder: Path, durations: Path, slots: int, timeout: float, *options: str) -> dict[str, Any]:
    """Run windrow_replay.py, Windrow's own sweep with trials that sleep; what it measured."""
    script, result = Path(__file__).with_name("windrow_replay.py"), folder / "replay.json"
    own = ("--durations", durations, "--folder", folder, "--slots", slots, "--result", result)
    submit_script(master, script, folder, *own, *options, timeout=timeout)
    known: dict[str, Any] = json.loads(result.read_text())
    return known


def environment(folder: Path) -> dict[str, str]:
    """Variables for a job or a peer: this Python, loopback only, no telemetry, all files in `folder`."""
    kept = {name: value for name, value in os.environ.items() if name not in ("SPARK_HOME", "MLFLOW_TRACKING_URI")}
    return {
        **kept,
        "BENCH_FOLDER": str(folder),
        "WINDROW_HOME": str(folder / "home"),
        "PYTHONPATH": str(REPOSITORY / "bench"),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the only setting that keeps a local Ray on the loopback address
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def run(command: list[str], log: Path, variables: dict[str, str], timeout: float) -> None:
    """Run to the end; on failure or a timeout end its whole process group.

    Raises:
        JobError: it ended with another code than 0, or too late.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside, the measurement ends its peer too
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=variables, cwd=log.parent, start_new_session=True
        )
        try:
            code: int | str = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = f"none after {timeout:.0f} s"
        finally:
            _end(process)
    if code != 0:
        tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-12:])
        raise JobError(f"{' '.join(command[:6])} ... must end with 0; got {code}; {log} ends:\n  {tail}")


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def fresh_folder(*names: str) -> Path:
    """An empty folder for one run of one tool; what an earlier run left there is removed."""
    folder = WORK.joinpath(*names)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_page(path: Path, **sections: Any) -> Path:
    """An experiment page; JSON is YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"name": path.stem, **sections}, indent=1) + "\n")
    return path


def prepare(checkout: Path, source: str) -> Path:
    """The data set, prepared once by Windrow's own job; every tool reads these arrays."""
    folder = WORK / "mnist"
    page = write_page(WORK / "mnist_bench.yaml", dataset={"source": source}, space=LEARNING_RATE)
    submit(checkout, "prepare_dataset", WORK / "prepare", 2, "--experiment", page, "--out", folder, timeout=600)
    return folder


LEARNING_RATE = {"learning_rate": {"type": "float", "low": 3e-4, "high": 1e-2, "log": True}}


def trials(study: Path) -> list[dict[str, Any]]:
    """The trials of a study by number, as its ledger has them.

    accuracy is the last epoch's, for a pruned trial too; started and ended are the worker's stamps in Unix seconds;
    seconds is what the trial took, or its share of a graph that several trials had.
    """
    query = "SELECT outcome FROM attempts WHERE state = 'settled' ORDER BY trial, attempt"
    with closing(sqlite3.connect(study / "ledger.db")) as ledger:
        last = {outcome["number"]: outcome for (text,) in ledger.execute(query) for outcome in [json.loads(text)]}
    return [
        {
            "number": number,
            "accuracy": outcome["epochs"][-1]["val_accuracy"] if outcome["epochs"] else None,
            "started": outcome["began_at"] + outcome["import_seconds"],
            "ended": outcome["ended_at"],
            "seconds": outcome["seconds"],
            "complete": outcome["ending"] == "ok",
            "epochs": len(outcome["epochs"]),
        }
        for number, outcome in last.items()
    ]
