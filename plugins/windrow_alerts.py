"""Who hears of a task that has failed or a run that is late: mail and a web hook, as the page's section airflow says.

    windrow_alerts.failure(page.experiment.airflow)               # callbacks of every task of its DAGs
    windrow_alerts.late(page.experiment.airflow, minutes)         # deadlines of a DAG

Passwords and the hook's address are in Airflow's connections. A task tells when its last try has failed, in the job's
words; the triggerer tells of a run that is late, which goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.callback import AsyncCallback  # airflow.sdk has them too, and its type stubs do not
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from windrow.experiment import AirflowSection

_CAUSE = "{{ (exception or 'its process was lost') }}"
_FAILED = {
    "text": "{{ ti.dag_id }}: task {{ ti.task_id }} has failed: " + _CAUSE,
    "dag_id": "{{ ti.dag_id }}",
    "run_id": "{{ run_id }}",
    "task_id": "{{ ti.task_id }}",
    "cause": _CAUSE,
    "link": "{{ ti.log_url }}",
}
"""What a failed task tells. Slack, Mattermost and Teams show `text`; the rest is for programs."""


def _late(minutes: int) -> dict[str, str]:
    dag, run = "{{ dag_run.dag_id }}", "{{ dag_run.dag_run_id }}"
    text = f"{dag}: run {run} has not ended {minutes} min after it was queued"
    return {"text": text, "dag_id": dag, "run_id": run}


def failure(section: AirflowSection) -> list[Any]:
    """The callbacks of a task that has failed for good; one for each way that the page names."""
    return [notifier(**arguments) for notifier, arguments in _ways(section, _FAILED)]


def late(section: AirflowSection, minutes: int | None) -> list[DeadlineAlert]:
    """The deadlines of a DAG: so long after a run was queued, each way that the page names is told."""
    if minutes is None:
        return []
    return [
        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(minutes=minutes),
            callback=AsyncCallback(notifier, kwargs=arguments),
        )
        for notifier, arguments in _ways(section, _late(minutes))
    ]


def _ways(section: AirflowSection, message: Mapping[str, str]) -> list[tuple[Any, dict[str, Any]]]:
    """(notifier, its arguments) of each way. A page that names none does not pay for the import of either."""
    ways: list[tuple[Any, dict[str, Any]]] = []
    if section.emails:
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        paragraphs = [f"<p>{_escaped(message[key])}</p>" for key in ("text", "link") if key in message]
        mail = {"subject": "Windrow: {{ dag_run.dag_id }}", "html_content": "".join(paragraphs)}
        ways.append((SmtpNotifier, {"to": list(section.emails), **mail}))
    if section.webhook:
        from windrow_webhook import WebHook

        ways.append((WebHook, {"http_conn_id": section.webhook, "json": dict(message)}))
    return ways


def _escaped(template: str) -> str:
    """A template whose values stand in HTML: the cause of a failure may quote what came from the web."""
    return template.replace(" }}", " | e }}")
