"""Show a DAG run's progress while it runs, and the reason if it fails."""

from __future__ import annotations

import re
import sys
import time
from typing import TextIO

from windrow.errors import ServiceError
from windrow.laptop.airflow_api import FINISHED, Airflow, NotFoundError, Task

POLL_SECONDS = 1.0
LOG_SECONDS = 4.0  # between two reads: each read transfers the whole log
_PROGRESS_SECONDS = 10.0
_HEALTH_SECONDS = 30.0  # after which Airflow itself takes a scheduler without a heartbeat for unhealthy
_PROGRESS = re.compile(r"\[\d[\d,]*/\d[\d,]*\].*")
_MEANT = re.compile(r"\s*[^\s:]")  # neither empty nor a mark that folds a log, such as ::endgroup::
_IDLE = (None, "scheduled", "queued", "none", "removed")


class Reporter:
    """Prints lines with the time since the start. On a terminal, the next line overwrites a line of progress."""

    def __init__(self, output: TextIO | None = None, started: float | None = None) -> None:
        self._output = output or sys.stdout
        self._terminal = self._output.isatty()
        self._started = time.time() if started is None else started
        self._passing = ""
        self._said = 0.0

    @property
    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.time() - self._started

    def log(self, line: str) -> None:
        """Print a line that stays."""
        self._write(f"{self._clock()}  {line}\n")
        self._passing = ""

    def passing(self, line: str) -> None:
        """Print a line of progress: on a terminal until the next line, elsewhere at most every 10 seconds."""
        if line == self._passing:
            return
        if self._terminal:
            self._write(f"{self._clock()}    {line[:100]}", "")
        elif time.monotonic() - self._said > _PROGRESS_SECONDS:
            self._said = time.monotonic()
            self._write(f"{self._clock()}    {line}\n")
        self._passing = line

    def _clock(self) -> str:
        minutes, seconds = divmod(int(self.seconds), 60)
        return f"{minutes:3d}:{seconds:02d}"

    def _write(self, text: str, erase: str | None = None) -> None:
        self._output.write(f"\r\x1b[K{text}" if self._terminal else text)
        self._output.flush()


class RunFailedError(ServiceError):
    """A DAG run has failed; the message names the task and quotes its log."""


def wait(airflow: Airflow, dag: str, run: str, reporter: Reporter) -> dict[str, str]:
    """Wait until the run has succeeded, print its progress, and return task → state.

    Raises:
        RunFailedError: the run failed.
        ServiceError: Airflow no longer answers, or the run was deleted.
    """
    changes = _Changes(airflow, dag, run, reporter)
    while True:
        try:  # the state first, so that the tasks of a run that has ended are all in their final state
            state = airflow.run_state(dag, run)
            tasks = airflow.tasks(dag, run) if state else []
        except NotFoundError:
            state = None
        if state is None:
            raise ServiceError(f"{dag} must still have its run {run}; it was deleted; start it again")
        changes.log(tasks)
        if state in FINISHED:
            break
        changes.check_scheduler()
        time.sleep(POLL_SECONDS)
    if state == "failed":
        raise RunFailedError(failure(airflow, dag, run, tasks))
    return {task.name: task.state or "none" for task in tasks}


class _Changes:
    """Prints what has changed in a run since the last call of `log`."""

    def __init__(self, airflow: Airflow, dag: str, run: str, reporter: Reporter) -> None:
        self._airflow, self._dag, self._run, self._reporter = airflow, dag, run, reporter
        self._states: dict[str, str | None] = {}
        self._log_read = -LOG_SECONDS
        self._health_read = time.monotonic()
        self._healthy = True

    def log(self, tasks: list[Task]) -> None:
        """Print the state of each task whose state has changed, and the progress of the running task.

        For a task that is retried, also print why; for one that awaits a person's answer, the page to answer on.
        """
        for task in tasks:
            if task.state not in _IDLE and self._states.get(task.name) != task.state:
                self._reporter.log(f"{self._dag}  {task.name}: {task.state}")
                if task.state == "up_for_retry":
                    self._reporter.log(f"  {reason(self._log(task))}")
                if task.state == "awaiting_input":
                    page = f"{self._airflow.pages}/dags/{self._dag}/runs/{self._run}/tasks/{task.name}/required_actions"
                    self._reporter.log(f"  a person must answer at {page}")
            self._states[task.name] = task.state
            if task.state == "running" and time.monotonic() - self._log_read >= LOG_SECONDS:
                self._log_read = time.monotonic()
                if line := progress(self._log(task)):
                    self._reporter.passing(line)

    def check_scheduler(self) -> None:
        """Print once if Airflow's scheduler does not work: without it no task begins, and the wait would not end."""
        if time.monotonic() - self._health_read < _HEALTH_SECONDS:
            return
        self._health_read = time.monotonic()
        healthy = self._airflow.get("/monitor/health")["scheduler"]["status"] == "healthy"
        if self._healthy and not healthy:
            self._reporter.log(
                "  Airflow's scheduler has sent no heartbeat for 30 s; if that stays so, run make doctor"
            )
        self._healthy = healthy

    def _log(self, task: Task) -> list[str]:
        return self._airflow.log(self._dag, self._run, task)


def progress(log: list[str]) -> str | None:
    """Return the last line of progress in a job's log, such as `[3/12] trial 2: ...`; None without any."""
    return next((found[0] for line in reversed(log) if (found := _PROGRESS.search(line))), None)


def failure(airflow: Airflow, dag: str, run: str, tasks: list[Task]) -> str:
    """Return the message about a failed run: its page in Airflow, and each failed task with the reason from its log."""
    failed = [task for task in tasks if task.state == "failed"]
    lines = [f"{dag} must succeed; got a failed run {run}; see {airflow.pages}/dags/{dag}/runs/{run}"]
    for task in failed:
        lines.append(f"  {task.name}, attempt {task.attempt}: {reason(airflow.log(dag, run, task))}")
    return "\n".join(lines)


def reason(log: list[str]) -> str:
    """Return the last `error:` message in a job's log, else the last line that says something."""
    sentences = [line[line.index("error: ") :] for line in log if "error: " in line]
    return (
        sentences[-1] if sentences else next((line for line in reversed(log) if _MEANT.match(line)), "its log is empty")
    )
