"""Handle the processes of a job: their environment, their process group, and the error text in their output.

    group = ProcessGroup()
    child = subprocess.Popen(command, process_group=group.id, env=environment(folder))
    ...
    group.end(child)

Imports neither Airflow nor its Spark provider, so that every part of Airflow can load it quickly.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from windrow import paths

JobResult = Mapping[str, Any]
"""The JSON object that a job writes to --result; docs/jobs.md lists the keys of each job."""

CAUSE = "cause"
"""The XCom that holds why a task failed, in one sentence."""

GRACE_SECONDS = 3.0
"""Seconds from SIGTERM to SIGKILL. Airflow waits 5 s before it kills the task that waits here."""

_LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %c{1}: %m%n%ex
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
logger.address.name = org.apache.spark.util.Utils
logger.address.level = error
"""


def environment(folder: Path) -> dict[str, str]:
    """Write Spark's log settings into a folder; return the variables that a job needs in addition to Airflow's own.

    Without these variables, Spark might use another Python, and Airflow another spark-submit, than those of Airflow's
    own environment.

    Args:
        folder: the folder for the settings, which must exist as long as the job runs.
    """
    log4j = folder / "log4j2.properties"
    log4j.write_text(_LOG4J, encoding="utf-8")
    submit_options = os.environ.get("SPARK_SUBMIT_OPTS", "")
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(paths.REPOSITORY / "jobs"), os.environ.get("PYTHONPATH")])),
        "PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", sys.executable),
        "SPARK_SUBMIT_OPTS": f"-Dlog4j2.configurationFile={log4j.as_uri()} {submit_options}".strip(),
        "WINDROW_HOME": str(paths.home()),
        **({} if _has_letters() else {"LC_ALL": "C.UTF-8"}),
    }


def _has_letters() -> bool:
    """Return whether the locale has letters outside ASCII; without them Java replaces those in a job's arguments."""
    locale = next(filter(None, (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))), "C")
    return locale.upper() not in ("C", "POSIX")


class ErrorSentence:
    """Finds the last `error:` line in a job's output, with the indented lines that follow it."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._open = False
        self.last_line = "nothing"

    @property
    def text(self) -> str:
        """Return the message without its `error:` prefix; empty if the job printed no error."""
        return "\n".join(self._lines).removeprefix("error: ")

    def listen(self, lines: Iterator[str]) -> Iterator[str]:
        """Yield the lines that are not blank. Meanwhile `text` is the last error so far, `last_line` the last line."""
        for line in lines:
            bare = line.rstrip()
            if bare.startswith("error: "):
                self._lines, self._open = [bare], True
            elif self._open and line.startswith("  "):
                self._lines.append(bare)
            else:
                self._open = False
            if bare:
                self.last_line = bare
                yield line


class ProcessGroup:
    """A process group for a job. The group ends with the task, even if the task is killed with SIGKILL.

    A shell leads the group and reads from a pipe that only this process holds open. The pipe closes when this process
    ends, however it ends, and the shell then ends the group.
    """

    _GUARD = f'trap "" TERM; read -r line; kill -TERM 0; sleep {GRACE_SECONDS:.0f}; kill -KILL 0'

    def __init__(self) -> None:
        self._ended = False
        self.stopped = False  # True if the job was still running when the group was ended
        self._guard = subprocess.Popen(["/bin/sh", "-c", self._GUARD], stdin=subprocess.PIPE, process_group=0)
        self.id = self._guard.pid

    def end(self, child: subprocess.Popen[str] | None = None) -> None:
        """Send SIGTERM to the group, then SIGKILL if it outlives the grace period. A second call does nothing.

        Args:
            child: this process's own child in the group. Until a child is polled, the system counts it as alive.
        """
        if self._ended:
            return
        self._ended = True
        self.stopped = child is None or child.poll() is None
        self._signal(signal.SIGTERM)
        self._guard.kill()
        self._guard.wait()
        deadline = time.monotonic() + GRACE_SECONDS
        while self._signal(0) and time.monotonic() < deadline:
            time.sleep(0.05)
            if child is not None:
                child.poll()
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> bool:
        """Send a signal to the group; return False if the group has no process left."""
        with suppress(ProcessLookupError, PermissionError):  # macOS raises the second for a group of zombies
            os.killpg(self.id, number)
            return True
        return False
