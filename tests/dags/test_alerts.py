"""A run that fails tells why: in its note, by mail and to a web hook, as the page says. One that is well does not."""

from __future__ import annotations

import email
import email.policy
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

PAGE = """
name: told
space: {units: {type: int, low: 1, high: 2}}
scoring: {feed: "feeds/told/*.txt", schedule: null}
airflow: {emails: [ann@example.org, bob@example.org], webhook: night_hook}
"""
REFUSED = "unknown key 'scoring.<b>'"


Mails = list[tuple[list[str], Any]]
"""(recipients, message) of each."""


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[int]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def post_office(mails: Mails) -> socketserver.ThreadingTCPServer:
    """A mail server that says yes to everything, and keeps what it gets."""

    class Office(socketserver.StreamRequestHandler):
        def answer(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def handle(self) -> None:
            recipients: list[str] = []
            self.answer("220 office")
            for line in self.rfile:
                word = line.strip().upper()
                if word.startswith(b"RCPT TO"):
                    recipients.append(line.decode().split("<")[1].split(">")[0])
                if word == b"DATA":
                    self.answer("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    mails.append((recipients, email.message_from_bytes(b"".join(lines), policy=email.policy.default)))
                self.answer("221 bye" if word == b"QUIT" else "250 yes")

    return socketserver.ThreadingTCPServer(("127.0.0.1", 0), Office)


@pytest.fixture(scope="module")
def mails() -> Mails:
    return []


@pytest.fixture(scope="module")
def failed(airflow: Any, dag_folder: Callable[..., Path], web_hook: Any, mails: Mails) -> Any:
    """A run of a page with alerts that is refused before Spark starts."""
    with serving(post_office(mails)) as port:
        extra = {"from_email": "windrow@example.org", "disable_ssl": True, "disable_tls": True}
        connections = {
            "AIRFLOW_CONN_NIGHT_HOOK": {"conn_type": "http", "host": web_hook.url},
            "AIRFLOW_CONN_SMTP_DEFAULT": {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra},
        }
        variables = {name: json.dumps(value) for name, value in connections.items()}
        return airflow.run(dag_folder(told=PAGE), "score_told", {"set": ["scoring.<b>=1"]}, **variables)


def test_the_runs_note_has_the_cause_in_one_sentence(failed: Any) -> None:
    assert failed.state == "failed", failed.log[-5000:]
    assert failed.note.startswith("score_images: ")
    assert REFUSED in failed.note


def test_what_the_page_forbids_is_refused_at_the_first_try_and_before_spark(failed: Any) -> None:
    assert failed.tasks["score_images"]["tries"] == 1
    assert "spark-submit" not in failed.log


def test_the_web_hook_hears_it_once(failed: Any, web_hook: Any) -> None:
    (post,) = web_hook.posts
    assert post["text"].startswith("score_told: task score_images has failed: ")
    assert REFUSED in post["text"]
    assert (post["dag_id"], post["task_id"], post["run_id"]) == ("score_told", "score_images", failed.run_id)
    assert REFUSED in post["cause"]


def test_a_mail_goes_to_each_address_and_what_it_quotes_is_no_markup(failed: Any, mails: Mails) -> None:
    ((recipients, message),) = mails
    assert recipients == ["ann@example.org", "bob@example.org"]
    assert message["Subject"] == "Windrow: score_told"
    body = message.get_body().get_content()
    assert "scoring.&lt;b&gt;" in body
    assert "<b>" not in body


def test_the_address_of_the_hook_stays_out_of_the_log(failed: Any) -> None:
    assert "/services/secret" not in failed.log


def test_a_run_that_ends_well_has_no_note(airflow: Any, dag_folder: Callable[..., Path]) -> None:
    feeds = Path(airflow.environment["WINDROW_HOME"]) / "feeds" / "told"
    feeds.mkdir(parents=True)
    (feeds / "empty.txt").touch()
    run = airflow.run(dag_folder(told=PAGE), "score_told", {"dry_run": True})
    assert run.state == "success", run.log[-5000:]
    assert run.note is None
