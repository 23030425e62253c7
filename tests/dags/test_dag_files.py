"""The DAG files: which DAGs there are, the team's policy, the trigger forms, and what a broken page does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from windrow import experiment
from windrow.errors import PageError
from windrow.experiment.promotion_section import PromotionSection
from windrow.experiment.sections import SweepSection

pytestmark = pytest.mark.airflow

REPOSITORY = Path(__file__).resolve().parents[2]
DAGS = REPOSITORY / "dags"
CHANGE = "change_champion"
JOBS = {
    **{name: name for name in ("prepare_dataset", "embed_images", "sweep", "draw_atlas", "promote_best", "reproduce")},
    "score_images": "score_images",
    "record_decision": "promote_best",
    "change_champion": "promote_best",
    "maintain": "score_images",
}
OTHERS = {"approve_champion": "HITLOperator", "announce_champion": "_PythonDecoratedOperator"}
PAGE = "name: {name}\nspace: {{units: {{type: int, low: 1, high: 2}}}}\n"
WRONG = "name: wrong\nspace: {units: {type: int, low: 3, high: 2}}\nsweep: {trails: 3}\n"


FOLDERS = {
    "broken": {
        "good": PAGE.format(name="good") + "sweep: {schedule: '0 1 * * 6'}\n",
        "scored": PAGE.format(name="scored") + "scoring: {feed: x, schedule: null}\n",
        **{"wrong": WRONG, "unreadable": "a: [", "twin": PAGE.format(name="good")},
    },
    "pooled": {"pooled": PAGE.format(name="pooled") + "scoring: {feed: x}\nairflow: {pool: spark}\n"},
    "late": {
        "late": PAGE.format(name="late") + "scoring: {feed: x}\n"
        "airflow: {emails: [a@example.org], webhook: hook, train_minutes: 480, score_minutes: 60}\n"
    },
    "moving": {
        "moving": PAGE.format(name="moving") + "sweep: {after_drift: 0.25, schedule: '0 1 * * 6'}\nscoring: {feed: x}\n"
    },
}
"""Folders that are parsed beside the checkout's: their pages, by file name."""


@pytest.fixture(scope="module")
def folders(parser: Any, dag_folder: Callable[..., Path]) -> dict[str, dict[str, Any]]:
    """What Airflow makes of each folder of DAG files. One process parses them all: importing Airflow takes longest."""
    made = {name: dag_folder(**pages) for name, pages in FOLDERS.items()}
    return dict(zip(["own", *made], parser.parse(DAGS, *made.values()), strict=True))


@pytest.fixture(scope="module")
def parsed(folders: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return folders["own"]


@pytest.fixture(scope="module")
def pages() -> dict[str, experiment.Experiment]:
    found = (experiment.load(path) for path in (DAGS / "experiments").glob("*.yaml"))
    return {page.name: page for page in found}


@pytest.fixture(scope="module")
def with_broken_pages(folders: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return folders["broken"]


def dags(parsed: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The DAGs of pages: all but the one that changes champions."""
    return ((dag_id, values["dag"]) for dag_id, values in parsed["dags"].items() if dag_id != CHANGE)


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
    assert set(parsed["dags"]) == train | score | {CHANGE}
    assert {"train_digits", "score_digits", "score_imagenet"} <= set(parsed["dags"])
    assert "train_imagenet" not in parsed["dags"]


def test_there_are_no_import_errors(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}


def test_two_parses_serialise_the_same(parsed: dict[str, Any]) -> None:
    assert parsed["dags"] == parsed["again"]


def test_no_dag_carries_a_path_that_only_its_home_explains(parsed: dict[str, Any], parser: Any) -> None:
    assert str(parser.environment["WINDROW_HOME"]) not in str(parsed["dags"])


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
    found = {(task_id, job) for jobs in parsed["jobs"].values() for task_id, job in jobs.items()}
    assert {job for _, job in found if not (REPOSITORY / "jobs" / f"{job}.py").is_file()} == set()
    assert found == set(JOBS.items())


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


def test_the_features_of_a_page_with_a_backbone_come_before_its_sweep(parsed: dict[str, Any]) -> None:
    """The shipped page has no folder of photographs yet; its DAGs are there all the same."""
    of_page = tasks(parsed["dags"]["train_photos"]["dag"])
    followers = {name: sorted(of_page[name]["downstream_task_ids"]) for name in ("prepare_dataset", "embed_images")}
    assert followers == {"prepare_dataset": ["embed_images"], "embed_images": ["sweep"]}
    given = plain(of_page["embed_images"]["arguments"])
    assert given["dataset"] == plain(of_page["sweep"]["arguments"])["dataset"]
    assert of_page["embed_images"]["doc_md"]


def test_every_task_is_a_job_or_asks_a_person_or_tells_of_the_champion(parsed: dict[str, Any]) -> None:
    for _, dag in dags(parsed):
        for task_id, task in tasks(dag).items():
            assert task["task_type"] == OTHERS.get(task_id, "SparkJob"), task_id


def test_a_dag_that_fails_as_often_as_its_manual_says_is_paused(parsed: dict[str, Any]) -> None:
    """That Airflow then does so is its own affair."""
    manual = parsed["dags"]["score_digits"]["dag"]["doc_md"]
    [number] = re.findall(r"After\s+(\w+)\s+failed\s+runs\s+in\s+a\s+row\s+Airflow\s+pauses", manual)
    often = {"three": 3, "four": 4, "five": 5, "six": 6}[number]
    assert {dag["max_consecutive_failed_dag_runs"] for _, dag in dags(parsed)} == {often}


def test_the_champion_links_the_two_dags(parsed: dict[str, Any]) -> None:
    announce = tasks(parsed["dags"]["train_digits"]["dag"])["announce_champion"]
    assert "x-mlflow://models/digits" in str(announce["outlets"])
    assert "x-mlflow://models/digits" in str(parsed["dags"]["score_digits"]["dag"]["timetable"])


def test_jobs_wait_in_the_pages_pool_and_other_tasks_do_not(folders: dict[str, dict[str, Any]]) -> None:
    every = [task for _, dag in dags(folders["pooled"]) for task in tasks(dag).values()]
    pools = {task["task_id"]: task.get("pool", "default_pool") for task in every}
    assert pools == dict.fromkeys(JOBS.keys() - {CHANGE, "embed_images"}, "spark") | dict.fromkeys(
        OTHERS, "default_pool"
    )


def test_a_page_with_alerts_has_deadlines_and_serialises_the_same_twice(folders: dict[str, dict[str, Any]]) -> None:
    found = folders["late"]
    assert found["errors"] == {}
    assert found["dags"] == found["again"]
    deadlines = {dag_id: dag.get("deadline") for dag_id, dag in dags(found)}
    assert {dag_id: len(alerts or []) for dag_id, alerts in deadlines.items()} == {
        **{"train_late": 2, "score_late": 2, "maintain_late": 0}
    }
    assert "480 min after" in str(deadlines["train_late"])
    assert "60 min after" in str(deadlines["score_late"])


def test_drift_starts_the_training_of_a_page_that_says_so(folders: dict[str, dict[str, Any]]) -> None:
    found = folders["moving"]["dags"]
    announce = tasks(found["score_moving"]["dag"])["announce_drift"]
    assert "x-windrow://drift/moving" in str(announce["outlets"])
    assert "x-windrow://drift/moving" in str(found["train_moving"]["dag"]["timetable"])


def test_a_page_that_only_scores_waits_for_no_champion(parsed: dict[str, Any]) -> None:
    dag = parsed["dags"]["score_imagenet"]["dag"]
    assert dag["timetable"]["__type"].endswith("NullTimetable")
    keys = {f"scoring.{name}" for name in ("feed", "drift_gate", "minimum_ok_share", "rescore", "allow_addresses")}
    assert set(form(dag)) == keys | {"limit", "rescore", "retry_status", "dry_run", "date", "set"}


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


def test_help_is_a_line_without_code_whose_box_would_cover_the_line_above_where_it_wraps(
    parsed: dict[str, Any],
) -> None:
    for dag_id, values in parsed["dags"].items():
        for key, param in form(values["dag"]).items():
            assert not set("`\n") & set(param["schema"]["description_md"]), (dag_id, key)


def test_what_a_page_of_ones_own_needs_first_has_a_field(parsed: dict[str, Any]) -> None:
    """Where its images lie and how large they are, its network, and the addresses of its feed."""
    for dag_id, dag in dags(parsed):
        if dag_id.startswith("train_"):
            assert {"dataset.source", "dataset.image_size", "network.builder"} <= set(form(dag)), dag_id
        if dag_id.startswith("score_"):
            assert {"scoring.feed", "scoring.allow_addresses", "retry_status"} <= set(form(dag)), dag_id


def test_the_form_does_not_offer_a_backbone_because_the_page_decides_which_tasks_there_are(
    parsed: dict[str, Any],
) -> None:
    for dag_id, dag in dags(parsed):
        assert not {key for key in form(dag) if key.startswith("network.backbone")}, dag_id


def headings(dag: dict[str, Any]) -> dict[str, set[str]]:
    """The form's keys by heading."""
    found: dict[str, set[str]] = {}
    for key, param in form(dag).items():
        found.setdefault(param["schema"]["section"], set()).add(key)
    return found


def test_a_key_stands_under_the_heading_of_its_section_of_the_page(parsed: dict[str, Any]) -> None:
    headed = {"sweep": {"Sweep", "Limits"}, "dataset": {"Data"}, "network": {"Network"}}
    headed |= {"promotion": {"Promotion"}, "scoring": {"Scoring"}}
    for dag_id, dag in dags(parsed):
        for heading, keys in headings(dag).items():
            for key in keys:
                section, dot, _ = key.partition(".")
                assert not dot or heading in headed[section], (dag_id, key)


def test_every_limit_of_the_sweep_and_each_value_of_a_promotion_but_its_model_can_be_changed_for_one_run(
    parsed: dict[str, Any], pages: dict[str, experiment.Experiment]
) -> None:
    limits = {f"sweep.{name}" for name in SweepSection.model_fields if name.endswith(("_seconds", "_mebibytes"))}
    rule = {f"promotion.{name}" for name in PromotionSection.model_fields} - {"promotion.model"}
    for dag_id, dag in dags(parsed):
        if dag_id.startswith("train_"):
            assert headings(dag)["Limits"] == limits, dag_id
            has_backbone = pages[dag_id.removeprefix("train_")].network.backbone is not None
            assert headings(dag)["Promotion"] == rule - (set() if has_backbone else {"promotion.fine_tune"}), dag_id


def test_the_space_of_the_form_says_the_same_as_the_pages(
    parsed: dict[str, Any], pages: dict[str, experiment.Experiment]
) -> None:
    for dag_id, dag in dags(parsed):
        if dag_id.startswith("train_"):
            name = dag_id.removeprefix("train_")
            override = f"space={json.dumps(plain(form(dag)['space']['default']))}"
            path = DAGS / "experiments" / f"{name}.yaml"
            assert experiment.load(path, [override]) == pages[name], dag_id


def test_a_run_reproduces_nothing_unless_it_is_asked_for_a_version(parsed: dict[str, Any]) -> None:
    param = form(parsed["dags"]["train_digits"]["dag"])["reproduce"]
    assert param["default"] is None
    assert (param["schema"]["type"], param["schema"]["minimum"]) == (["null", "integer"], 1)


def test_one_dag_changes_the_champion_of_any_page_that_trains(
    parsed: dict[str, Any], pages: dict[str, experiment.Experiment]
) -> None:
    dag = parsed["dags"][CHANGE]["dag"]
    fields = form(dag)
    assert set(fields["page"]["schema"]["enum"]) == {name for name, page in pages.items() if page.trains}
    assert fields["action"]["schema"]["enum"] == ["rollback", "promote", "approve", "reject"]
    found = tasks(dag)
    assert found["change_champion"]["downstream_task_ids"] == ["announce_change"]
    assert "champions" in str(found["announce_change"]["outlets"])
    assert dag["is_paused_upon_creation"] is False, "a run that a person triggers would wait for ever"


def test_a_scoring_without_a_champion_is_skipped_unless_a_person_has_started_it(parsed: dict[str, Any]) -> None:
    template = plain(tasks(parsed["dags"]["score_digits"]["dag"])["score_images"]["arguments"])["without_champion"]
    kinds = {"scheduled": "skip", "asset_triggered": "skip", "manual": "fail", "backfill": "fail"}
    for kind, wanted in kinds.items():
        assert jinja2.Template(template).render(dag_run=SimpleNamespace(run_type=kind)) == wanted


def test_a_broken_page_hides_only_its_own_dags(with_broken_pages: dict[str, Any]) -> None:
    assert set(with_broken_pages["dags"]) == {CHANGE, "train_good", "train_scored", "score_scored", "maintain_scored"}


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


def test_a_dag_starts_next_at_the_hour_of_its_page(folders: dict[str, dict[str, Any]]) -> None:
    """As Airflow's own timetable has it on a Wednesday noon: a night whose hour is long past is not made up for."""
    found = {dag_id: run for parsed in folders.values() for dag_id, run in parsed["next"].items()}
    saturday, night, sunday = at("2026-11-28T01:00"), at("2026-11-26T03:00"), at("2026-11-29T05:00")
    assert (found["train_good"], found["train_moving"]) == (saturday, saturday)
    assert (found["score_digits"], found["score_moving"], found["maintain_digits"]) == (night, night, sunday)
    for dag_id in ("train_digits", "train_scored", "score_scored", "score_imagenet"):
        assert found[dag_id] is None, dag_id


def at(moment: str) -> str:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).isoformat()


@pytest.mark.parametrize(
    ("chosen", "kind", "day"),
    [
        ("2026-11-07", "manual", "2026-11-07"),
        ("2026-11-07", "backfill", "2026-11-07"),
        (None, "backfill", "2026-11-05"),
    ],
)
def test_a_scoring_reads_the_day_that_was_chosen_and_a_backfill_its_own(
    parsed: dict[str, Any], chosen: str | None, kind: str, day: str
) -> None:
    run = SimpleNamespace(run_type=kind, logical_date=datetime(2026, 11, 5, 3, tzinfo=UTC))
    assert rendered_day(parsed, date=chosen, run=run) == day


def test_any_other_scoring_reads_all_days(parsed: dict[str, Any]) -> None:
    """One that an asset has started has no logical date."""
    for kind in ("manual", "scheduled", "asset_triggered"):
        assert rendered_day(parsed, date=None, run=SimpleNamespace(run_type=kind, logical_date=None)) == ""


def rendered_day(parsed: dict[str, Any], date: str | None, run: SimpleNamespace) -> str:
    """What the score DAG gives to the job's --date."""
    jinja = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    jinja.filters["ds"] = lambda moment: moment.date().isoformat()
    arguments = plain(tasks(parsed["dags"]["score_digits"]["dag"])["score_images"]["arguments"])
    return jinja.from_string(arguments["date"]).render(params={"date": date}, dag_run=run)


def test_a_missing_package_is_explained(parser: Any, dag_folder: Callable[..., Path]) -> None:
    [found] = parser.parse(dag_folder(), without_package=True)
    assert set(found["errors"]) == {"train.py", "score.py", "maintain.py", "change_champion.py", "check_pages.py"}
    for text in found["errors"].values():
        assert "start every Airflow component with PYTHONPATH=" in text
