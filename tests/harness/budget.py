"""What a test run may cost: spark-submits are counted by Spark's own start script, stacks where they are started.

Every spark-submit of any process that inherits this environment reads SPARK_CONF_DIR/spark-env.sh, which notes it, and
which sets the JVM's options. The script then names another folder, which does not exist: one with files in it would
stand first on the JVM's class path, and the archive of Spark's classes is used with no other class path than its own.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

TEST, UNIT = "not faults and not cluster", "unit"
"""The marker expressions of make test, which pyproject.toml has as the default, and of make unit."""
MOST_SUBMITS = 20
MOST_STACKS = 1
_FOLDER = "WINDROW_TEST_BUDGET"
# A driver that is started inside this process is Python's own gateway, and no spark-submit of a test.
# No JVM here lives long enough for its second compiler, which takes half of its processor time.
_SPARK_ENV = """\
SPARK_SUBMIT_OPTS="$SPARK_SUBMIT_OPTS -XX:TieredStopAtLevel=1"
SPARK_LAUNCHER_OPTS="$SPARK_LAUNCHER_OPTS -XX:TieredStopAtLevel=1"
case "$*" in
*pyspark-shell*) ;;
*org.apache.spark.deploy.SparkSubmit*) echo "$(date +%s) $*" >> "{file}" ;;
esac
SPARK_CONF_DIR="{nothing}"
"""


def begin(folder: Path) -> None:
    """Count from here on, in this process and those that it starts."""
    conf = folder / "conf"
    conf.mkdir(parents=True)
    (conf / "spark-env.sh").write_text(_SPARK_ENV.format(file=folder / "submits", nothing=folder / "nothing"))
    os.environ["SPARK_CONF_DIR"] = str(conf)
    os.environ[_FOLDER] = str(folder)


def end() -> None:
    """Forget what was counted."""
    shutil.rmtree(os.environ.pop(_FOLDER))


def note_stack(name: str) -> None:
    """Count a whole stack (Airflow, MLflow and what belongs to them) that is started."""
    if folder := os.environ.get(_FOLDER):
        with (Path(folder) / "stacks").open("a") as file:
            file.write(f"{name}\n")


def submits() -> list[str]:
    """The command lines of the spark-submits so far."""
    return _lines("submits")


def stacks() -> list[str]:
    """The stacks that were started so far."""
    return _lines("stacks")


def _lines(name: str) -> list[str]:
    path = Path(os.environ[_FOLDER]) / name
    return path.read_text().splitlines() if path.is_file() else []


def overdrawn(expression: str) -> list[str]:
    """What a run has spent too much, a line each, by the marker expression that chose its tests."""
    if expression == UNIT:
        return [f"make unit must start neither Spark nor a stack; got {line}" for line in submits() + stacks()]
    if expression != TEST:
        return []
    found = []
    if len(submits()) > MOST_SUBMITS:
        found.append(f"make test must take at most {MOST_SUBMITS} spark-submits; got {len(submits())}")
    if len(stacks()) > MOST_STACKS:
        found.append(f"make test must start at most {MOST_STACKS} stack; got {', '.join(stacks())}")
    return found


def report(terminal: pytest.TerminalReporter, expression: str) -> None:
    """Say at the end what was spent."""
    terminal.section("budget")
    terminal.line(f"{len(submits())} spark-submits, {len(stacks())} stacks")
    for line in overdrawn(expression):
        terminal.line(line, red=True)
