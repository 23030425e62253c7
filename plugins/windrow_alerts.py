"""Send alerts about failed tasks and late runs, by mail and web hook, as set in the page's section `airflow`.

    windrow_alerts.failure(page.experiment.airflow)               # callbacks of every task of the page's DAGs
    windrow_alerts.late(page.experiment.airflow, minutes)         # deadlines of a DAG

Passwords and the hook's address are in Airflow's connections. When a task's last try has failed, the task sends an
alert with the job's error message. The triggerer sends the alert about a late run, and does not stop the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.callback import AsyncCallback  # airflow.sdk has them too, but its type stubs don't
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from windrow.experiment import AirflowSection

_CAUSE = "{{ (exception or 'its process was lost') }}"
_CHAT_MARKS = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@\u200b"}  # the last: Mattermost wakes all for @channel
_FAILED = {
    "text": "{{ ti.dag_id }}: task {{ ti.task_id }} has failed: " + _CAUSE,
    "dag_id": "{{ ti.dag_id }}",
    "run_id": "{{ run_id }}",
    "task_id": "{{ ti.task_id }}",
    "cause": _CAUSE,
    "link": "{{ ti.log_url }}",
}
"""The alert about a failed task. Slack, Mattermost and Teams show `text`, a mail shows `text` and `link`."""


def _late(minutes: int) -> dict[str, str]:
    dag, run = "{{ dag_run.dag_id }}", "{{ dag_run.dag_run_id }}"
    text = f"{dag}: run {run} has not ended {minutes} min after it was queued"
    return {"text": text, "dag_id": dag, "run_id": run}


def failure(section: AirflowSection) -> list[Any]:
    """Return the callbacks for a task whose last try has failed, one for each channel on the page."""
    return [notifier(**arguments) for notifier, arguments in _channels(section, _FAILED)]


def late(section: AirflowSection, minutes: int | None) -> list[DeadlineAlert]:
    """Return a DAG's deadlines: `minutes` after a run was queued, an alert goes to each channel on the page.

    Return an empty list if `minutes` is None.
    """
    if minutes is None:
        return []
    return [
        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(minutes=minutes),
            callback=AsyncCallback(notifier, kwargs=arguments),
        )
        for notifier, arguments in _channels(section, _late(minutes))
    ]


def _channels(section: AirflowSection, message: Mapping[str, str]) -> list[tuple[Any, dict[str, object]]]:
    """Return (notifier class, its arguments) for each channel. Only the classes that are needed are imported."""
    channels: list[tuple[Any, dict[str, object]]] = []
    if section.emails:
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        paragraphs = [f"<p>{_escaped(message[key])}</p>" for key in ("text", "link") if key in message]
        mail = {"subject": "Windrow: {{ dag_run.dag_id }}", "html_content": "".join(paragraphs)}
        channels.append((SmtpNotifier, {"to": list(section.emails), **mail}))
    if section.webhook:
        from windrow_webhook import WebHook

        channels.append(
            (WebHook, {"http_conn_id": section.webhook, "json": {**message, "text": _for_chats(message["text"])}})
        )
    return channels


def _for_chats(template: str) -> str:
    """Return the template with its values escaped: an error may quote <!channel> or @channel from the web."""
    marks = "".join(f" | replace('{mark}', '{instead}')" for mark, instead in _CHAT_MARKS.items())
    return template.replace(" }}", f" | string{marks} }}}}")


def _escaped(template: str) -> str:
    """Return the template with its values escaped for HTML, because an error message may quote text from the web."""
    return template.replace(" }}", " | e }}")
