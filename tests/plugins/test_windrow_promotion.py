"""What the train DAG does beside its jobs: skips, the request to a person, the announcement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
import windrow_dags
import windrow_promotion
from airflow.sdk.exceptions import AirflowRuntimeError, AirflowSkipException, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse
from jinja2.nativetypes import NativeEnvironment
from windrow import experiment
from windrow_spark import as_options

PAGE = windrow_dags.Page(
    Path("digits.yaml"), experiment.parse("name: digits\nspace: {units: {type: int, low: 1, high: 2}}")
)
LINKS = {"model_version": "http://m/#/models/digits/versions/7", "mlflow_run": "http://m/#/run/1"}
PROMOTION = {
    **{"decision": "awaiting_approval", "promoted": False, "reason": "better by 0.01"},
    **{"model_name": "numerals", "model_version": "7", "champion_before": "6"},
    **{"evidence": "| | test accuracy |\n|---|---|\n| challenger | 0.98 |", "links": LINKS},
}

NEWS = {"model_name": "numerals", "model_version": "7", "links": LINKS}


def context(**results: Any) -> dict[str, Any]:
    """A task's context in a run whose tasks gave these results."""
    return {"params": {}, "ti": SimpleNamespace(xcom_pull=lambda task_ids: results.get(task_ids))}


def rendered(template: str, results: dict[str, Any]) -> str:
    """A template as Airflow renders it: what is not there is an error."""
    jinja = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    jinja.filters["evidence"] = windrow_promotion.evidence
    return jinja.from_string(template).render(context(**results))


@pytest.mark.parametrize("params", [{}, {"reproduce": None}])
def test_a_run_without_a_version_trains_and_reproduces_nothing(params: dict[str, Any]) -> None:
    windrow_promotion.trains({"params": params})
    with pytest.raises(AirflowSkipException, match="no version is to be reproduced"):
        windrow_promotion.reproduces({"params": params})


def test_a_run_with_a_version_reproduces_it_and_trains_nothing() -> None:
    windrow_promotion.reproduces({"params": {"reproduce": 3}})
    with pytest.raises(AirflowSkipException, match="reproduces version 3"):
        windrow_promotion.trains({"params": {"reproduce": 3}})


@pytest.mark.parametrize("decision", ["promoted", "kept"])
def test_nobody_is_asked_about_what_is_decided(decision: str) -> None:
    ask = windrow_promotion.ask_person(PAGE, "")._pre_execute_hook
    ask(context(promote_best=PROMOTION))
    with pytest.raises(AirflowSkipException, match="no version awaits a person's approval"):
        ask(context(promote_best={**PROMOTION, "decision": decision}))


def test_the_request_names_page_version_and_model_and_shows_table_and_links() -> None:
    request = windrow_promotion.ask_person(PAGE, "")
    results = {"promote_best": PROMOTION}
    assert rendered(request.subject, results) == "digits: may version 7 of numerals become its champion?"
    assert rendered(request.body, results) == (
        f"better by 0.01\n\n{PROMOTION['evidence']}\n\n"
        "[the version](http://m/#/models/digits/versions/7) · [its sweep, with the atlas](http://m/#/run/1)"
    )


def test_a_request_waits_two_days_for_its_answer_and_takes_none_by_itself() -> None:
    request = windrow_promotion.ask_person(PAGE, "")
    assert request.response_timeout == timedelta(days=2)
    assert request.defaults is None


def test_a_promotion_without_a_table_still_renders_for_its_task_is_skipped_later_than_that() -> None:
    promotion = {"model_version": "7", "reason": "kept"}
    assert rendered(windrow_promotion.ask_person(PAGE, "").body, {"promote_best": promotion}) == "kept"


@pytest.mark.parametrize(("chosen", "approve", "reject"), [("Approve", "7", ""), ("Reject", "", "7")])
def test_the_job_hears_the_answer_under_one_option_and_who_gave_it(chosen: str, approve: str, reject: str) -> None:
    answer = {"chosen_options": [chosen], "responded_by_user": {"id": "1", "name": "ada"}}
    results = {"promote_best": PROMOTION, "approve_champion": answer}
    told = {name: rendered(template, results) for name, template in windrow_promotion.DECISION.items()}
    assert told == {"approve": approve, "reject": reject, "by": "ada"}


FOLLOWERS = ["score_digits", "maintain_digits"]


class Task:
    """A task that knows which DAGs are paused, and keeps what it stores."""

    def __init__(self, paused: Sequence[str] = (), unknown: Sequence[str] = ()) -> None:
        self.paused, self.unknown, self.stored = paused, unknown, dict[str, str]()

    def get_dag(self, dag: str) -> Any:
        if dag in self.unknown:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 404}))
        return SimpleNamespace(is_paused=dag in self.paused)

    def xcom_push(self, key: str, value: str) -> None:
        self.stored[key] = value


def announced(promotion: Any, decision: Any, task: Task | None = None) -> Any:
    """The extra of the event."""
    event = SimpleNamespace(extra=None)
    windrow_promotion.announce_champion(promotion, decision, "asset", FOLLOWERS, {"asset": event}, task or Task())
    return event.extra


def test_the_announcement_follows_the_promotion_where_no_person_was_asked() -> None:
    assert announced({**PROMOTION, "promoted": True}, None) == NEWS
    with pytest.raises(AirflowSkipException, match=r"the champion stays: better by 0\.01"):
        announced(PROMOTION, None)


def test_without_a_champion_the_announcement_says_that_there_is_none() -> None:
    with pytest.raises(AirflowSkipException, match="there is no champion: not promoted: it may be guessing"):
        announced({**PROMOTION, "champion_before": None, "reason": "not promoted: it may be guessing"}, None)


def test_the_announcement_follows_the_person_where_one_was_asked() -> None:
    assert announced(PROMOTION, {**PROMOTION, "promoted": True}) == NEWS
    with pytest.raises(AirflowSkipException, match="the champion stays: ada said no"):
        announced(PROMOTION, {**PROMOTION, "reason": "ada said no"})


def test_a_paused_scoring_is_said_in_the_log_and_the_note_with_the_way_to_switch_it_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = Task(FOLLOWERS)
    assert announced({**PROMOTION, "promoted": True}, None, task) == NEWS
    assert task.stored["cause"] == (
        "the champion labels nothing: score_digits and maintain_digits are paused; switch them on in Airflow's list of "
        "DAGs, or with airflow dags unpause score_digits && airflow dags unpause maintain_digits; "
        "then trigger score_digits once, because it has missed this champion"
    )
    assert task.stored["cause"] in caplog.text


def test_what_is_paused_and_does_not_keep_labels_back_is_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    task = Task(["maintain_digits"])
    announced({**PROMOTION, "promoted": True}, None, task)
    assert task.stored == {}
    assert "airflow dags unpause maintain_digits" in caplog.text


@pytest.mark.parametrize(
    ("scoring", "followers"),
    [
        ("", []),
        ("scoring: {feed: x}", FOLLOWERS),
        ("scoring: {feed: x, model: 'models:/digits@champion'}", FOLLOWERS),
        ("scoring: {feed: x, model: 'models:/other@champion'}", []),
        ("scoring: {feed: x, model: 'models:/digits/3'}", []),
        ("scoring: {feed: x, network: {file: x.keras, labels: [x.txt]}}", []),
    ],
)
def test_only_a_scoring_with_the_pages_own_champion_follows_it(scoring: str, followers: list[str]) -> None:
    text = f"name: digits\nspace: {{units: {{type: int, low: 1, high: 2}}}}\n{scoring}\n"
    page = windrow_dags.Page(Path("digits.yaml"), experiment.parse(text))
    assert windrow_promotion.followers(page) == followers


def test_a_dag_that_airflow_does_not_know_yet_does_not_fail_the_announcement(caplog: pytest.LogCaptureFixture) -> None:
    task = Task(["maintain_digits"], unknown=["score_digits"])
    assert announced({**PROMOTION, "promoted": True}, None, task) == NEWS
    assert task.stored == {}
    assert "could not say whether score_digits is paused" in caplog.text
    assert "maintain_digits is paused" in caplog.text


def test_nothing_is_said_where_all_dags_are_on(caplog: pytest.LogCaptureFixture) -> None:
    task = Task()
    announced({**PROMOTION, "promoted": True}, None, task)
    assert (task.stored, caplog.text) == ({}, "")


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ({"action": "rollback", "version": None}, ["--rollback", "--by", "ada"]),
        ({"action": "promote", "version": 3}, ["--promote", "3", "--by", "ada"]),
        ({"action": "approve", "version": 3}, ["--approve", "3", "--by", "ada"]),
        ({"action": "reject", "version": 3}, ["--reject", "3", "--by", "ada"]),
    ],
)
def test_the_form_for_a_champion_becomes_one_option_and_the_persons_name(
    form: dict[str, Any], options: list[str]
) -> None:
    person = SimpleNamespace(triggering_user_name="ada")
    values = {
        name: NativeEnvironment().from_string(template).render(params=form, dag_run=person)
        for name, template in windrow_promotion.CHANGE.items()
    }
    assert as_options(values) == options


def changed(action: str, task: Task | None = None) -> list[tuple[str, Any]]:
    """The events of a change: URI of the asset, and the extra."""
    events: list[tuple[str, Any]] = []
    alias = SimpleNamespace(add=lambda asset, extra: events.append((asset.uri, extra)))
    windrow_promotion.announce_change(
        {**PROMOTION, "promoted": action != "rollback"},
        {"digits": FOLLOWERS, "other": ["score_other"]},
        {"action": action, "page": "digits"},
        {windrow_promotion._CHAMPIONS: alias},
        task or Task(),
    )
    return events


@pytest.mark.parametrize("action", ["rollback", "promote", "approve"])
def test_a_champion_that_a_person_has_chosen_is_announced_like_any_other(action: str) -> None:
    assert changed(action) == [("x-mlflow://models/numerals", NEWS)]


def test_a_paused_scoring_of_the_page_is_said_after_a_persons_change_too() -> None:
    task = Task(["score_digits", "score_other"])
    assert changed("promote", task) == [("x-mlflow://models/numerals", NEWS)]
    assert task.stored["cause"].startswith("the champion labels nothing: score_digits is paused; switch it on")
    assert task.stored["cause"].endswith("then trigger score_digits once, because it has missed this champion")


def test_a_rejection_is_announced_to_nobody() -> None:
    with pytest.raises(AirflowSkipException, match="the champion stays"):
        changed("reject")
