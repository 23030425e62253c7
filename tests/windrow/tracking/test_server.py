from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from windrow import tracking
from windrow.errors import TrackingError, UserError
from windrow.tracking import server

BODY = b"{}"


@pytest.fixture
def answering() -> Iterator[Callable[[int], str]]:
    """Addresses of servers that are healthy but answer every API call with one status."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(status: int) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply(200)

            def do_POST(self) -> None:
                self.reply(status)

            def reply(self, code: int) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(code)
                self.send_header("Content-Length", str(len(BODY)))
                self.end_headers()
                self.wfile.write(BODY)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for running in servers:
        running.shutdown()
        running.server_close()


def test_a_server_that_is_down_is_found_out_within_seconds(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    start = time.monotonic()
    with pytest.raises(TrackingError, match=r"MLflow must answer at MLFLOW_TRACKING_URI; .* start it, or correct"):
        tracking.connect()
    assert time.monotonic() - start < 4 * server.CHECK_SECONDS


@pytest.mark.parametrize(
    ("status", "told"), [(403, "refused us .403.; list this host"), (500, "answered 500; look at its log")]
)
def test_a_server_that_is_healthy_but_refuses_is_told_from_one_that_works(
    answering: Callable[[int], str], monkeypatch: pytest.MonkeyPatch, status: int, told: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", answering(status))
    with pytest.raises(TrackingError, match=told):
        tracking.connect()


def test_without_a_server_everything_is_kept_under_the_home(tmp_path: Path) -> None:
    assert tracking.uri() == f"sqlite:///{(tmp_path / 'home').resolve()}/mlflow/mlflow.db"


@pytest.mark.parametrize("wrong", ["digits", "models:/digits", "runs:/1/model", "digits@champion"])
def test_a_model_that_is_not_named_as_one_is_refused_without_asking(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windrow.tracking.models.connect", lambda: None)
    with pytest.raises(UserError, match="must be named as models:/NAME@ALIAS or models:/NAME/VERSION; got"):
        tracking.fetch_model(wrong, tmp_path)


@pytest.mark.mlflow
@pytest.mark.parametrize("absent", ["models:/nobody@champion", "models:/nobody/3"])
def test_a_model_that_is_not_registered_is_told_with_its_cure(
    absent: str, tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    with pytest.raises(UserError, match=r"must be in the registry; it is not; run the train DAG"):
        tracking.fetch_model(absent, tmp_path)


def test_links_are_a_browsers_where_jobs_know_the_server_by_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("WINDROW_MLFLOW_PAGES", "http://127.0.0.1:9002/")
    assert server.run_link("3", "a") == {"mlflow_run": "http://127.0.0.1:9002/#/experiments/3/runs/a"}
    assert server.version_link("m", "1") == {"model_version": "http://127.0.0.1:9002/#/models/m/versions/1"}
    assert server.uri() == "http://mlflow:5000"


def test_runs_are_compared_on_a_page_of_the_server_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://m:5000/")
    address = server.compare_link("3", ["a", "b"])["compare"]
    assert address.startswith("http://m:5000/#/compare-runs?")
    asked = parse_qs(address.partition("?")[2])
    assert {key: json.loads(value) for key, [value] in asked.items()} == {"runs": ["a", "b"], "experiments": ["3"]}
    assert server.compare_link("3", ["a"]) == {}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///m.db")
    assert server.compare_link("3", ["a", "b"]) == {}
