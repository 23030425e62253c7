"""Use Airflow's REST API: trigger a DAG, look at its tasks, read results and logs. Does not import Airflow.

airflow = Airflow("http://127.0.0.1:8080", "admin", password)
airflow.log_in()
run = airflow.trigger("train_digits", {"set": ["sweep.trials=4"]})
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import quote

import requests

from windrow.errors import ServiceError

FINISHED = ("success", "failed")
_SECONDS = 30.0
_TRIES = 4
_PAGE = 100  # Airflow's own limit for a page of an answer


@dataclass(frozen=True)
class Task:
    """A task of a run; `state` is None until it is scheduled."""

    name: str
    state: str | None
    attempt: int


class Airflow:
    """A client that logs in once, and repeats a GET if SQLite was busy for a moment.

    Args:
        url: the address of Airflow.
        user: the name to log in with.
        password: the user's password.
        pages: the address of Airflow for the user's browser; `url` if absent.
    """

    def __init__(self, url: str, user: str, password: str, pages: str | None = None) -> None:
        self.url = url
        self.pages = pages or url
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between this process and the services on this machine
        self._login = {"username": user, "password": password}

    def log_in(self) -> None:
        """Log in and keep the token for later requests.

        Raises:
            ServiceError: Airflow does not answer, or refuses the login.
        """
        answer = self._ask("POST", f"{self.url}/auth/token", json=self._login)
        self._session.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def has_dag(self, dag: str) -> bool:
        """Return whether Airflow has parsed this DAG, and its file is still there."""
        try:
            return not self._ask("GET", self._dag(dag))["is_stale"]
        except NotFoundError:
            return False

    def import_errors(self) -> dict[str, str]:
        """Return DAG file → import error, for files that can't be imported."""
        errors = self.get("/importErrors", limit=100)["import_errors"]
        return {error["filename"]: error["stack_trace"].strip() for error in errors}

    def unpause(self, dag: str) -> None:
        """Let the scheduler run the DAG."""
        self._ask("PATCH", f"{self._dag(dag)}?update_mask=is_paused", json={"is_paused": False})

    def paused(self, dags: Sequence[str]) -> list[str]:
        """Return those of these DAGs that are paused."""
        return [dag for dag in dags if self._ask("GET", self._dag(dag))["is_paused"]]

    def trigger(self, dag: str, conf: Mapping[str, object]) -> str:
        """Start a run with these params and return the run's id."""
        answer = self._ask("POST", f"{self._dag(dag)}/dagRuns", json={"logical_date": None, "conf": dict(conf)})
        return str(answer["dag_run_id"])

    def run_state(self, dag: str, run: str) -> str | None:
        """Return queued, running, success or failed; None for an unknown run."""
        try:
            return str(self._ask("GET", self._run(dag, run))["state"])
        except NotFoundError:
            return None

    def runs_since(self, dag: str, moment: str, kind: str) -> list[str]:
        """Return the ids of the runs of one kind, such as asset_triggered, since an ISO moment, oldest first."""
        found: list[str] = []
        for offset in count(0, _PAGE):
            wanted = {"order_by": "id", "limit": _PAGE, "offset": offset, "run_after_gte": moment}
            runs = self._ask("GET", f"{self._dag(dag)}/dagRuns", params=wanted)["dag_runs"]
            found += [run["dag_run_id"] for run in runs if run["run_type"] == kind]
            if len(runs) < _PAGE:
                break
        return found

    def tasks(self, dag: str, run: str) -> list[Task]:
        """Return the run's tasks, in no particular order."""
        found = self._ask("GET", f"{self._run(dag, run)}/taskInstances")["task_instances"]
        return [Task(task["task_id"], task["state"], task["try_number"]) for task in found]

    def result(self, dag: str, run: str, task: str) -> Any:
        """Return the result of a task; None if it has no result."""
        try:
            return self._ask("GET", f"{self._run(dag, run)}/taskInstances/{task}/xcomEntries/return_value")["value"]
        except NotFoundError:
            return None

    def log(self, dag: str, run: str, task: Task) -> list[str]:
        """Return the log messages of a task's latest attempt; empty if the attempt has no log yet."""
        try:
            path = f"{self._run(dag, run)}/taskInstances/{task.name}/logs/{task.attempt}"
            answer = self._ask("GET", path, params={"full_content": "true"}, headers={"Accept": "application/json"})
        except NotFoundError:
            return []
        return [message for line in answer["content"] or [] for message in _messages(line)]

    def get(self, path: str, **params: Any) -> Any:
        """GET a path of the stable API and return the parsed JSON."""
        return self._ask("GET", f"{self.url}/api/v2{path}", params=params)

    def _dag(self, dag: str) -> str:
        return f"{self.url}/api/v2/dags/{quote(dag)}"

    def _run(self, dag: str, run: str) -> str:
        return f"{self._dag(dag)}/dagRuns/{quote(run, safe='')}"

    def _ask(self, method: str, url: str, **options: Any) -> Any:
        """Send a request and return the parsed JSON. Repeat a failed GET, because SQLite or the server may be busy.

        Raises:
            NotFoundError: Airflow answers 404.
            ServiceError: Airflow does not answer, or answers with another error.
        """
        wrong = ""
        for attempt in range(_TRIES if method == "GET" else 1):
            time.sleep(attempt)
            try:
                response = self._session.request(method, url, timeout=_SECONDS, **options)
            except requests.RequestException as error:
                wrong = f"no answer ({type(error).__name__})"
                continue
            if response.ok:
                return response.json()
            wrong = f"{response.status_code}: {response.text.strip()[:300]}"
            if response.status_code == requests.codes.not_found:
                raise NotFoundError(f"Airflow must know {url}; got {wrong}")
            if response.status_code < 500:
                break
        raise ServiceError(f"Airflow must answer {method} {url}; got {wrong}; run make doctor")


def _messages(line: Any) -> list[str]:
    """Return a log line's text; for an exception, add a line `error: ...`, as the jobs print it."""
    if not isinstance(line, dict):
        return [str(line)]
    errors = [f"error: {error['exc_value']}" for error in line.get("error_detail") or [] if error.get("exc_value")]
    return [str(line.get("event", "")), *errors]


class NotFoundError(ServiceError):
    """Airflow has no such DAG, run, task or result."""
