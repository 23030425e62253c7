"""Progress while a DAG run goes on, and the reason when it fails. Airflow is a small HTTP server with a script."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from windrow.errors import ServiceError
from windrow.laptop import airflow_api, watch
from windrow.laptop.airflow_api import Airflow
from windrow.laptop.watch import Reporter, RunFailedError

RUN = "manual__2026-11-23T15:07:51+00:00"
RUN_PATH = "/api/v2/dags/train/dagRuns/manual__2026-11-23T15%3A07%3A51%2B00%3A00"


@dataclass
class Script:
    """Answers by path, each the next of a list, the last for ever. A number is an HTTP error."""

    answers: dict[str, list[Any]] = field(default_factory=dict)
    seen: list[tuple[str, str, Any]] = field(default_factory=list)

    def next(self, path: str) -> Any:
        answers = self.answers.get(path, [404])
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def script() -> Script:
    return Script({"/auth/token": [{"access_token": "secret"}]})


@pytest.fixture
def airflow(script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            script.seen.append((self.command, self.path, body))
            path = self.path.partition("?")[0]
            allowed = path == "/auth/token" or self.headers.get("Authorization") == "Bearer secret"
            found = script.next(path) if allowed else 401
            self.send_response(found if isinstance(found, int) else 200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        do_GET = do_POST = do_PATCH = answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    monkeypatch.setattr(airflow_api.time, "sleep", lambda seconds: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = Airflow(f"http://127.0.0.1:{server.server_port}", "admin", "password")
        client.log_in()
        yield client
        server.shutdown()


@pytest.fixture
def told() -> Callable[[], list[str]]:
    output = io.StringIO()
    reporter = Reporter(output)

    def lines() -> list[str]:
        return [line[8:] for line in output.getvalue().splitlines()]

    lines.reporter = reporter  # type: ignore[attr-defined]
    return lines


def tasks(**states: str | None) -> dict[str, Any]:
    return {"task_instances": [{"task_id": name, "state": state, "try_number": 1} for name, state in states.items()]}


def log(*events: str) -> dict[str, Any]:
    return {"content": [{"event": event} for event in events]}


def test_tells_each_change_once_and_the_progress_of_what_runs(script: Script, airflow: Airflow, told: Any) -> None:
    script.answers |= {
        RUN_PATH: [{"state": "queued"}, {"state": "running"}, {"state": "running"}, {"state": "success"}],
        f"{RUN_PATH}/taskInstances": [
            tasks(sweep=None, promote=None),
            tasks(sweep="queued", promote=None),
            tasks(sweep="running", promote=None),
            tasks(sweep="success", promote="skipped"),
        ],
        f"{RUN_PATH}/taskInstances/sweep/logs/1": [log("starting", "[3/12] trial 2: 0.98", "noise")],
    }

    states = watch.wait(airflow, "train", RUN, told.reporter)

    assert states == {"sweep": "success", "promote": "skipped"}
    assert told() == [
        "train  sweep: running",
        "  [3/12] trial 2: 0.98",
        "train  sweep: success",
        "train  promote: skipped",
    ]


@pytest.mark.parametrize("line", ["[3/12] trial 2: 0.98", "[1,024/6,089] features; 243.1 images a second"])
def test_the_last_count_of_a_log_is_the_progress(line: str) -> None:
    log = ["INFO - [2/12] trial 1: 0.97", f"INFO - {line}", "INFO - [a/b] is no count, nor is [1/]"]
    assert watch.progress(log) == line


def test_a_scheduler_that_has_ended_is_told_once_until_it_works_again(
    script: Script, airflow: Airflow, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_HEALTH_SECONDS", 0.0)
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.0)
    health = [{"scheduler": {"status": status}} for status in ("healthy", *("unhealthy",) * 2, "healthy", "unhealthy")]
    script.answers |= {
        RUN_PATH: [*({"state": "running"} for _ in health), {"state": "success"}],
        f"{RUN_PATH}/taskInstances": [tasks(sweep=None)],
        "/api/v2/monitor/health": health,
    }

    watch.wait(airflow, "train", RUN, told.reporter)

    assert told() == ["  Airflow's scheduler has sent no heartbeat for 30 s; if that stays so, run make doctor"] * 2


def test_a_failed_task_is_named_with_the_sentence_of_its_log(script: Script, airflow: Airflow, told: Any) -> None:
    sentence = "error: MLflow must answer; got 403; start it"
    script.answers |= {
        RUN_PATH: [{"state": "failed"}],
        f"{RUN_PATH}/taskInstances": [tasks(sweep="failed", promote="upstream_failed")],
        f"{RUN_PATH}/taskInstances/sweep/logs/1": [log("error: first", sentence, "Task failed", "::endgroup::")],
    }

    with pytest.raises(RunFailedError) as caught:
        watch.wait(airflow, "train", RUN, told.reporter)

    assert f"sweep, attempt 1: {sentence}" in str(caught.value)
    assert "promote" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_retry_is_told_with_its_reason(script: Script, airflow: Airflow, told: Any) -> None:
    detail = {
        "event": "Task failed with exception",
        "error_detail": [{"exc_type": "X", "exc_value": "the disk is full"}],
    }
    script.answers |= {
        RUN_PATH: [{"state": "running"}, {"state": "success"}],
        f"{RUN_PATH}/taskInstances": [tasks(sweep="up_for_retry"), tasks(sweep="success")],
        f"{RUN_PATH}/taskInstances/sweep/logs/1": [{"content": [detail]}],
    }
    watch.wait(airflow, "train", RUN, told.reporter)
    assert told() == ["train  sweep: up_for_retry", "  error: the disk is full", "train  sweep: success"]


def test_a_task_that_waits_for_a_person_says_where_to_answer(script: Script, airflow: Airflow, told: Any) -> None:
    script.answers |= {
        RUN_PATH: [{"state": "running"}, {"state": "running"}, {"state": "success"}],
        f"{RUN_PATH}/taskInstances": [tasks(approve="awaiting_input"), *[tasks(approve="success")] * 2],
    }
    watch.wait(airflow, "train", RUN, told.reporter)
    waiting, where, answered = told()
    assert (waiting, answered) == ("train  approve: awaiting_input", "train  approve: success")
    assert where == f"  a person must answer at {airflow.url}/dags/train/runs/{RUN}/tasks/approve/required_actions"


def test_a_run_that_someone_deleted_is_told(airflow: Airflow, script: Script, told: Any) -> None:
    for answers in ({f"{RUN_PATH}/taskInstances": [tasks()]}, {RUN_PATH: [{"state": "running"}]}, {}):
        script.answers = {"/auth/token": script.answers["/auth/token"], **answers}
        with pytest.raises(ServiceError, match=r"must still have its run .* it was deleted; start it again"):
            watch.wait(airflow, "train", RUN, told.reporter)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["x", "error: it", "::endgroup::"], "error: it"),
        (["hook: error: it", "  its second line"], "error: it"),
        (["the last words", "", "::endgroup::"], "the last words"),
        (["", "::group::Post"], "its log is empty"),
        ([], "its log is empty"),
    ],
)
def test_the_reason_is_the_last_error_or_the_last_words(lines: list[str], expected: str) -> None:
    assert watch.reason(lines) == expected


def test_a_busy_airflow_is_asked_again(script: Script, airflow: Airflow) -> None:
    script.answers[RUN_PATH] = [500, 503, {"state": "running"}]
    assert airflow.run_state("train", RUN) == "running"


def test_what_changes_something_is_asked_once(script: Script, airflow: Airflow) -> None:
    script.answers["/api/v2/dags/train/dagRuns"] = [500, {"dag_run_id": RUN}]
    with pytest.raises(ServiceError, match=r"must answer POST .*; got 500.*; run make doctor"):
        airflow.trigger("train", {})


def test_a_trigger_carries_the_overrides_and_no_date(script: Script, airflow: Airflow) -> None:
    script.answers["/api/v2/dags/train/dagRuns"] = [{"dag_run_id": RUN}]
    assert airflow.trigger("train", {"set": ["sweep.trials=4"]}) == RUN
    body = {"logical_date": None, "conf": {"set": ["sweep.trials=4"]}}
    assert script.seen[-1] == ("POST", "/api/v2/dags/train/dagRuns", body)


def test_only_runs_of_the_asked_kind_are_given(script: Script, airflow: Airflow) -> None:
    runs = [{"dag_run_id": kind, "run_type": kind} for kind in ("scheduled", "asset_triggered", "manual")]
    script.answers["/api/v2/dags/score/dagRuns"] = [{"dag_runs": runs}]
    assert airflow.runs_since("score", "2026-11-23T15:00:00+00:00", "asset_triggered") == ["asset_triggered"]


def test_runs_beyond_the_first_page_of_an_answer_are_found(script: Script, airflow: Airflow) -> None:
    many = [{"dag_run_id": str(number), "run_type": "manual"} for number in range(100)]
    last = [{"dag_run_id": "wanted", "run_type": "asset_triggered"}]
    script.answers["/api/v2/dags/score/dagRuns"] = [{"dag_runs": many}, {"dag_runs": many}, {"dag_runs": last}]
    assert airflow.runs_since("score", "2026-11-23T15:00:00+00:00", "asset_triggered") == ["wanted"]
    assert [path.partition("offset=")[2].partition("&")[0] for _, path, _ in script.seen[1:]] == ["0", "100", "200"]


def test_a_missing_result_is_none_and_a_missing_dag_is_absent(airflow: Airflow) -> None:
    assert airflow.result("train", RUN, "sweep") is None
    assert airflow.log("train", RUN, airflow_api.Task("sweep", "running", 1)) == []
    assert not airflow.has_dag("nothing")


def test_a_refused_login_is_told(script: Script, airflow: Airflow) -> None:
    script.answers["/auth/token"] = [401]
    with pytest.raises(ServiceError, match="got 401"):
        airflow.log_in()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_passing_line_is_overwritten() -> None:
    output = Terminal()
    reporter = Reporter(output)
    reporter.passing("[1/3] one")
    reporter.passing("[2/3] two")
    reporter.log("done")
    assert output.getvalue().count("\n") == 1
    assert output.getvalue().count("\r\x1b[K") == 3


def test_elsewhere_the_passing_line_comes_now_and_then() -> None:
    output = io.StringIO()
    reporter = Reporter(output)
    for count in range(50):
        reporter.passing(f"[{count}/50]")
    assert output.getvalue().count("\n") == 1
