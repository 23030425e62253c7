"""What an alert says, as Airflow fills it in. tests/stack has the mails and the web hook of a real Airflow."""

from __future__ import annotations

from types import SimpleNamespace

import jinja2
import windrow_alerts
from windrow.experiment import AirflowSection


def test_a_mail_shows_what_a_failure_quotes_from_the_web_as_text() -> None:
    (mail,) = windrow_alerts.failure(AirflowSection(emails=("night@example.org",)))
    task = SimpleNamespace(dag_id="score_mine", task_id="score_images", log_url="http://127.0.0.1/log")
    body = jinja2.Environment(autoescape=False).from_string(mail.html_content)  # as Airflow renders it
    shown = body.render(ti=task, exception="<script>alert(1)</script>", run_id="r")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script>" not in shown


def test_a_chat_shows_what_a_failure_quotes_from_the_web_as_text_and_wakes_nobody() -> None:
    (hook,) = windrow_alerts.failure(AirflowSection(webhook="chat"))
    task = SimpleNamespace(dag_id="score_mine", task_id="score_images", log_url="http://127.0.0.1/log")
    text, cause = (jinja2.Environment(autoescape=False).from_string(hook.json[key]) for key in ("text", "cause"))
    error = ValueError("got <!channel> & <http://a.example|mine> @channel")
    shown = text.render(ti=task, exception=error, run_id="r")
    assert shown.endswith("has failed: got &lt;!channel&gt; &amp; &lt;http://a.example|mine&gt; @\u200bchannel")
    assert cause.render(exception=error) == str(error), "who reads JSON gets the cause as it is"
    assert text.render(ti=task, exception=None).endswith("its process was lost")


def test_whom_no_page_names_nobody_tells() -> None:
    assert windrow_alerts.failure(AirflowSection()) == windrow_alerts.late(AirflowSection(), None) == []
