"""The DAG files: which DAGs there are, the team's policy, the trigger forms, and what a broken page does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from windrow import experiment
from windrow.errors import PageError

pytestmark = pytest.mark.airflow

REPOSITORY = Path(__file__).resolve().parents[2]
JOBS = {
    **{name: name for name in ("prepare_dataset", "sweep", "draw_atlas", "promote_best", "reproduce", "score_images")},
    "record_decision": "promote_best",
    "maintain": "score_images",
}
OTHERS = {"approve_champion": "HITLOperator", "announce_champion": "_PythonDecoratedOperator"}
PAGE = "name: {name}\nspace: {{units: {{type: int, low: 1, high: 2}}}}\n"
WRONG = "name: wrong\nspace: {units: {type: int, low: 3, high: 2}}\nsweep: {trails: 3}\n"


@pytest.fixture(scope="module")
def parsed(airflow: Any) -> dict[str, Any]:
    return airflow.parse(REPOSITORY / "dags")


@pytest.fixture(scope="module")
def pages() -> dict[str, experiment.Experiment]:
    found = (experiment.load(path) for path in (REPOSITORY / "dags" / "experiments").glob("*.yaml"))
    return {page.name: page for page in found}


@pytest.fixture(scope="module")
def with_broken_pages(airflow: Any, dag_folder: Callable[..., Path]) -> dict[str, Any]:
    good = PAGE.format(name="good") + "sweep: {schedule: '0 1 * * 6'}\n"
    scored = PAGE.format(name="scored") + "scoring: {feed: x, schedule: null}\n"
    return airflow.parse(
        dag_folder(good=good, scored=scored, wrong=WRONG, unreadable="a: [", twin=PAGE.format(name="good"))
    )


def dags(parsed: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((dag_id, values["dag"]) for dag_id, values in parsed["dags"].items())


def tasks(dag: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {task["__var"]["task_id"]: task["__var"] for task in dag["tasks"]}


def form(dag: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Param name → {"default", "schema"}."""
    return {name: {**param, "schema": param["schema"]["__var"]} for name, param in dag["params"]}


def plain(value: Any) -> Any:
    """A value without the marks of its serialised form."""
    if isinstance(value, dict):
        inner = value["__var"] if set(value) == {"__type", "__var"} else value
        return {key: plain(item) for key, item in inner.items()} if isinstance(inner, dict) else plain(inner)
    return [plain(item) for item in value] if isinstance(value, list) else value


def test_there_is_a_train_dag_a_page_and_a_score_and_a_maintain_dag_a_page_that_scores(
    parsed: dict[str, Any], pages: dict[str, experiment.Experiment]
) -> None:
    train = {f"train_{name}" for name, page in pages.items() if page.space}
    score = {f"{kind}_{name}" for name, page in pages.items() if page.scoring for kind in ("score", "maintain")}
    assert set(parsed["dags"]) == train | score
    assert {"train_digits", "score_digits", "score_imagenet"} <= set(parsed["dags"])
    assert "train_imagenet" not in parsed["dags"]


def test_there_are_no_import_errors(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}


def test_parsing_takes_less_than_a_second_a_file(parsed: dict[str, Any]) -> None:
    assert parsed["seconds"] < 4


def test_two_parses_serialise_the_same(parsed: dict[str, Any]) -> None:
    assert parsed["dags"] == parsed["again"]


def test_no_dag_carries_a_path_that_only_its_home_explains(parsed: dict[str, Any], airflow: Any) -> None:
    assert str(airflow.environment["WINDROW_HOME"]) not in str(parsed["dags"])


def test_dags_have_an_owner_tags_docs_and_one_run_at_a_time(parsed: dict[str, Any]) -> None:
    for dag_id, dag in dags(parsed):
        kind, _, name = dag_id.partition("_")
        assert set(dag["tags"]) == {"windrow", kind, name}, dag_id
        assert dag["max_active_runs"] == 1, dag_id
        assert dag["catchup"] is False, dag_id
        assert len(dag["doc_md"]) > 300, dag_id
        assert dag["default_args"]["__var"]["owner"] == "windrow", dag_id


def test_the_manual_ends_with_what_the_page_says_of_itself(
    parsed: dict[str, Any], pages: dict[str, experiment.Experiment]
) -> None:
    for dag_id, dag in dags(parsed):
        page = pages[dag_id.partition("_")[2]]
        assert page.description.strip() in dag["doc_md"]
        assert f"### {page.name}.yaml" in dag["doc_md"]


def test_tasks_have_docs_a_time_limit_and_two_retries(parsed: dict[str, Any]) -> None:
    for dag_id, dag in dags(parsed):
        for task_id, task in tasks(dag).items():
            assert task.get("doc_md"), (dag_id, task_id)
            # Airflow keeps a person's time to itself: tests/plugins/test_windrow_promotion.py looks at that.
            assert 0 < task.get("execution_timeout", 0) <= 24 * 3600 or task_id == "approve_champion", (dag_id, task_id)
            assert task["retries"] == 2, (dag_id, task_id)
            assert task["owner"] == "windrow", (dag_id, task_id)


def test_every_spark_task_runs_a_job_that_is_there(parsed: dict[str, Any]) -> None:
    for _, dag in dags(parsed):
        for task_id, task in tasks(dag).items():
            if task["task_type"] == "SparkJob":
                assert (REPOSITORY / "jobs" / f"{JOBS[task_id]}.py").is_file()


def test_the_train_tasks_follow_each_other(parsed: dict[str, Any]) -> None:
    found = tasks(parsed["dags"]["train_digits"]["dag"])
    assert {name: sorted(task.get("downstream_task_ids", [])) for name, task in found.items()} == {
        "prepare_dataset": ["sweep"],
        "sweep": ["draw_atlas", "promote_best"],
        "draw_atlas": [],
        "promote_best": ["announce_champion", "approve_champion"],
        "approve_champion": ["record_decision"],
        "record_decision": ["announce_champion"],
        "reproduce": [],
        "announce_champion": [],
    }


def test_every_task_is_a_job_or_asks_a_person_or_tells_of_the_champion(parsed: dict[str, Any]) -> None:
    for _, dag in dags(parsed):
        for task_id, task in tasks(dag).items():
            assert task["task_type"] == OTHERS.get(task_id, "SparkJob"), task_id


def test_a_dag_that_fails_again_and_again_is_paused(parsed: dict[str, Any]) -> None:
    assert {dag["max_consecutive_failed_dag_runs"] for _, dag in dags(parsed)} == {5}


def test_the_champion_links_the_two_dags(parsed: dict[str, Any]) -> None:
    announce = tasks(parsed["dags"]["train_digits"]["dag"])["announce_champion"]
    assert "x-mlflow://models/digits" in str(announce["outlets"])
    assert "x-mlflow://models/digits" in str(parsed["dags"]["score_digits"]["dag"]["timetable"])


def test_jobs_wait_in_the_pages_pool_and_other_tasks_do_not(airflow: Any, dag_folder: Callable[..., Path]) -> None:
    page = PAGE.format(name="pooled") + "scoring: {feed: x}\nairflow: {pool: spark}\n"
    found = airflow.parse(dag_folder(pooled=page))["dags"]
    every = (task for values in found.values() for task in tasks(values["dag"]).values())
    pools = {task["task_id"]: task.get("pool", "default_pool") for task in every}
    assert pools == dict.fromkeys(JOBS, "spark") | dict.fromkeys(OTHERS, "default_pool")


def test_a_page_with_alerts_has_deadlines_and_serialises_the_same_twice(
    airflow: Any, dag_folder: Callable[..., Path]
) -> None:
    alerts = "airflow: {emails: [a@example.org], webhook: hook, train_minutes: 480, score_minutes: 60}\n"
    found = airflow.parse(dag_folder(late=PAGE.format(name="late") + f"scoring: {{feed: x}}\n{alerts}"))
    assert found["errors"] == {}
    assert found["dags"] == found["again"]
    deadlines = {dag_id: dag.get("deadline") for dag_id, dag in dags(found)}
    assert {dag_id: len(alerts or []) for dag_id, alerts in deadlines.items()} == {
        **{"train_late": 2, "score_late": 2, "maintain_late": 0}
    }
    assert "480 min after" in str(deadlines["train_late"])
    assert "60 min after" in str(deadlines["score_late"])


def test_drift_starts_the_training_of_a_page_that_says_so(airflow: Any, dag_folder: Callable[..., Path]) -> None:
    page = PAGE.format(name="moving") + "sweep: {after_drift: 0.25, schedule: '0 1 * * 6'}\nscoring: {feed: x}\n"
    found = airflow.parse(dag_folder(moving=page))["dags"]
    announce = tasks(found["score_moving"]["dag"])["announce_drift"]
    assert "x-windrow://drift/moving" in str(announce["outlets"])
    timetable = str(found["train_moving"]["dag"]["timetable"])
    assert "x-windrow://drift/moving" in timetable
    assert "0 1 * * 6" in timetable


def test_a_page_that_only_scores_waits_for_no_champion(parsed: dict[str, Any]) -> None:
    dag = parsed["dags"]["score_imagenet"]["dag"]
    assert dag["timetable"]["__type"].endswith("NullTimetable")
    assert set(form(dag)) == {"scoring.feed", "scoring.drift_gate", "limit", "rescore", "dry_run", "date", "set"}


def test_the_form_offers_the_pages_values(parsed: dict[str, Any], pages: dict[str, experiment.Experiment]) -> None:
    for dag_id, dag in dags(parsed):
        page = pages[dag_id.partition("_")[2]].model_dump(mode="json")
        for key, param in form(dag).items():
            if "." in key:
                section, name = key.split(".")
                assert param["default"] == page[section][name], (dag_id, key)


def test_every_knob_has_a_section_a_title_and_help(parsed: dict[str, Any]) -> None:
    for dag_id, dag in dags(parsed):
        for key, param in form(dag).items():
            assert {"title", "section", "description_md"} <= set(param["schema"]), (dag_id, key)


def test_the_train_form_has_its_sections(parsed: dict[str, Any]) -> None:
    sections: dict[str, list[str]] = {}
    for key, param in form(parsed["dags"]["train_digits"]["dag"]).items():
        sections.setdefault(param["schema"]["section"], []).append(key)
    assert sections == {
        "Sweep": [
            *("space", "sweep.trials", "sweep.epochs", "sweep.sampler", "sweep.pruner", "sweep.objective"),
            "sweep.seed",
        ],
        "Limits": ["sweep.budget_seconds", "sweep.trial_seconds", "sweep.trial_mebibytes"],
        "Data": ["dataset.source"],
        "Promotion": [
            *("promotion.finalists", "promotion.seeds", "promotion.minimum_improvement"),
            *("promotion.significant", "promotion.approval"),
        ],
        "Anything else": ["set"],
        "Reproduce": ["reproduce"],
    }


def test_the_space_of_the_form_says_the_same_as_the_pages(
    parsed: dict[str, Any], pages: dict[str, experiment.Experiment]
) -> None:
    for dag_id, dag in dags(parsed):
        if dag_id.startswith("train_"):
            name = dag_id.removeprefix("train_")
            override = f"space={json.dumps(plain(form(dag)['space']['default']))}"
            path = REPOSITORY / "dags" / "experiments" / f"{name}.yaml"
            assert experiment.load(path, [override]) == pages[name], dag_id


def test_a_run_reproduces_nothing_unless_it_is_asked_for_a_version(parsed: dict[str, Any]) -> None:
    param = form(parsed["dags"]["train_digits"]["dag"])["reproduce"]
    assert param["default"] is None
    assert (param["schema"]["type"], param["schema"]["minimum"]) == (["null", "integer"], 1)


def test_a_broken_page_hides_only_its_own_dags(with_broken_pages: dict[str, Any]) -> None:
    assert set(with_broken_pages["dags"]) == {"train_good", "train_scored", "score_scored", "maintain_scored"}


def test_broken_pages_are_one_import_error_that_lists_every_mistake(with_broken_pages: dict[str, Any]) -> None:
    assert list(with_broken_pages["errors"]) == ["check_pages.py"]
    text = with_broken_pages["errors"]["check_pages.py"]
    assert "wrong.yaml: 2 mistakes" in text
    with pytest.raises(PageError) as mistakes:
        experiment.parse(WRONG)
    for problem in mistakes.value.problems:
        assert str(problem) in text
    assert "unreadable.yaml" in text
    assert "must be unique; got 'good', as in good.yaml" in text


def test_schedules_are_the_pages(with_broken_pages: dict[str, Any]) -> None:
    weekly = with_broken_pages["dags"]["train_good"]["dag"]["timetable"]
    assert weekly["__type"].endswith("CronTriggerTimetable")
    assert (weekly["__var"]["expression"], weekly["__var"]["timezone"]) == ("0 1 * * 6", "UTC")
    assert with_broken_pages["dags"]["train_scored"]["dag"]["timetable"]["__type"].endswith("NullTimetable")
    assert "Asset" in with_broken_pages["dags"]["score_scored"]["dag"]["timetable"]["__type"]


def test_a_missing_package_is_explained(airflow: Any, dag_folder: Callable[..., Path], monkeypatch: Any) -> None:
    monkeypatch.setitem(airflow.environment, "PYTHONPATH", "")
    errors = airflow.parse(dag_folder())["errors"]
    assert set(errors) == {"train.py", "score.py", "maintain.py", "check_pages.py"}
    for text in errors.values():
        assert "start every Airflow component with PYTHONPATH=" in text
