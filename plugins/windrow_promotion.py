"""Define what train and change_champion do without jobs: skip tasks, ask a person, announce a champion.

    approve_champion = windrow_promotion.ask_person(page, "Asks a person whether ...")
    record_decision = SparkJob(..., arguments={"experiment": page} | windrow_promotion.DECISION)

This module only requests the person's answer. The job promote_best writes the answer into the registry, in a task and
when run by hand.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import windrow_dags
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import AssetAlias, Param, task
from airflow.sdk.exceptions import AirflowRuntimeError, AirflowSkipException
from windrow.dag_ids import dag_id, paused
from windrow.experiment import OBJECTIVE_DIRECTIONS
from windrow.markdown import escaped
from windrow_process import CAUSE, JobResult

_log = logging.getLogger(__name__)

REPRODUCE = Param(
    None,
    type=["null", "integer"],
    minimum=1,
    title="Version",
    section="Reproduce",
    description_md="number of a registered version to train again from its record; the run then does nothing else",
)

_PROMOTION = "ti.xcom_pull(task_ids='promote_best')"
_ANSWER = "ti.xcom_pull(task_ids='approve_champion')"
_APPROVE, _REJECT = "Approve", "Reject"

DECISION = {
    "approve": f"{{{{ {_PROMOTION}.model_version if '{_APPROVE}' in {_ANSWER}.chosen_options else '' }}}}",
    "reject": f"{{{{ {_PROMOTION}.model_version if '{_REJECT}' in {_ANSWER}.chosen_options else '' }}}}",
    "by": f"{{{{ {_ANSWER}.responded_by_user.name }}}}",
}
"""The options of promote_best for the answer: --approve or --reject with the version, and --by with the person."""

CHANGE = {
    "rollback": "{{ params.action == 'rollback' }}",
    **{
        name: f"{{{{ params.version if params.action == '{name}' else None }}}}"
        for name in ("promote", "approve", "reject")
    },
    "by": "{{ dag_run.triggering_user_name or None }}",
}
"""The options of promote_best for the form of change_champion, rendered as native values."""

_CHAMPIONS = AssetAlias("champions")
"""Stands for the champion of whichever model a run of change_champion changes."""

_LINKS = {
    "model_version": "the version",
    "evaluation": "its wrong test images and pictures",
    "mlflow_run": "its sweep, with the atlas",
}
_NEWS = ("model_name", "model_version", "test_accuracy", *OBJECTIVE_DIRECTIONS, "links")


def trains(context: Any) -> None:
    """Skip the task if the run reproduces a version; used as `pre_execute` of the first task that trains.

    The task skips itself, because a separate branch task would be one more task in every run.
    """
    if (version := context["params"].get("reproduce")) is not None:
        raise AirflowSkipException(f"this run reproduces version {version}, and trains nothing else")


def reproduces(context: Any) -> None:
    """Skip the task unless the run reproduces a version; used as `pre_execute` of the task `reproduce`."""
    if context["params"].get("reproduce") is None:
        raise AirflowSkipException("no version is to be reproduced")


def ask_person(page: windrow_dags.Page, doc_md: str) -> HITLOperator:
    """Return the task that waits for a person's answer. The task is skipped if promote_best has already decided."""
    version = f"version {{{{ {_PROMOTION}.model_version }}}} of {{{{ {_PROMOTION}.model_name }}}}"
    return HITLOperator(
        task_id="approve_champion",
        subject=f"{page.name}: may {version} become its champion?",
        body=f"{{{{ {_PROMOTION} | evidence }}}}",
        options=[_APPROVE, _REJECT],
        pre_execute=_awaits_approval,
        response_timeout=timedelta(days=2),
        doc_md=doc_md,
    )


def _awaits_approval(context: Any) -> None:
    if context["ti"].xcom_pull(task_ids="promote_best").get("decision") != "awaiting_approval":
        raise AirflowSkipException("no version awaits a person's approval")


def evidence(promotion: JobResult) -> str:
    """Return the text of the request, as Markdown: the decision's reason, the evidence, and links.

    Args:
        promotion: the result of promote_best.
    """
    links = promotion.get("links") or {}
    pages = " · ".join(f"[{title}]({links[key]})" for key, title in _LINKS.items() if links.get(key))
    return "\n\n".join(filter(None, [escaped(promotion.get("reason") or ""), promotion.get("evidence"), pages]))


def announce(page: windrow_dags.Page, promotion: Any, decision: Any) -> None:
    """Add the task that announces a new champion. If no person is asked, the task does not wait for an answer.

    Args:
        page: the page that names the model.
        promotion: the output of promote_best.
        decision: the output of record_decision.
    """
    champion = windrow_dags.champion(page.experiment.model_name)
    settings = task(
        outlets=[champion],
        trigger_rule="none_failed_min_one_success",
        doc_md=announce_champion.__doc__,
        execution_timeout=timedelta(minutes=5),
    )
    settings(announce_champion)(promotion, decision, champion, followers(page))


def followers(page: windrow_dags.Page) -> list[str]:
    """Return the DAGs that label with the page's new champion and keep its table; none if another network labels."""
    if not windrow_dags.labels_with_own_champion(page):
        return []
    return [dag_id("score", page.name), dag_id("maintain", page.name)]


def announce_champion(
    promotion: JobResult,
    decision: JobResult | None,
    asset: Any,
    followers: Sequence[str],
    outlet_events: Any = None,
    ti: Any = None,
) -> None:
    """Emit the champion's asset event, which starts the score DAGs; skip if the champion has not changed.

    A paused score DAG misses the event: then the log and the run's note say how to switch it on.
    """
    result = decision or promotion
    if not result["promoted"]:
        state = "the champion stays" if result.get("champion_before") else "there is no champion"
        raise AirflowSkipException(f"{state}: {result.get('reason', 'the finalist is not better')}")
    outlet_events[asset].extra = {key: result[key] for key in _NEWS if key in result}
    _tell_paused(followers, ti)


def _tell_paused(followers: Sequence[str], ti: Any) -> None:
    """Say in the log which followers are paused, and also in the run's note if the first, the score DAG, is paused."""
    if off := [dag for dag in followers if _is_paused(dag, ti)]:
        _log.warning(missed(off))
        if off[0] == followers[0]:
            ti.xcom_push(key=CAUSE, value=missed(off))


def _is_paused(dag: str, ti: Any) -> bool:
    """Return whether a DAG is paused; one that Airflow does not know yet, or cannot look up now, counts as not."""
    try:
        return bool(ti.get_dag(dag).is_paused)
    except AirflowRuntimeError as error:
        _log.warning("Airflow could not say whether %s is paused: %s", dag, error)
        return False


def missed(off: Sequence[str]) -> str:
    """Say which DAGs of a page are paused, and what that means for the new champion."""
    score = next((dag for dag in off if dag.startswith("score_")), None)
    if score is None:
        return paused(off)
    return f"the champion labels nothing: {paused(off)}; then trigger {score} once, because it has missed this champion"


def announce_after(change: Any, followers: Mapping[str, Sequence[str]]) -> None:
    """Add the task that starts the score DAGs after a person's change.

    Args:
        change: the output of change_champion.
        followers: name of a page → its DAGs that follow the champion.
    """
    settings = task(outlets=[_CHAMPIONS], doc_md=announce_change.__doc__, execution_timeout=timedelta(minutes=5))
    settings(announce_change)(change, dict(followers))


def announce_change(
    change: JobResult,
    followers: Mapping[str, Sequence[str]],
    params: Any = None,
    outlet_events: Any = None,
    ti: Any = None,
) -> None:
    """Emit the champion's asset event, which starts the score DAGs; skip after a rejection.

    If the page's score DAG is paused, it misses the event: then the log and the run's note say how to switch it on.
    """
    if params["action"] == "reject":
        raise AirflowSkipException(f"the champion stays: {change['reason']}")
    extra = {key: change[key] for key in _NEWS if key in change}
    outlet_events[_CHAMPIONS].add(windrow_dags.champion(change["model_name"]), extra=extra)
    _tell_paused(followers.get(params["page"], ()), ti)
