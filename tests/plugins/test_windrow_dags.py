"""What the DAG files share: pages, run folders, schedules and the form."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import windrow_dags
from airflow.sdk import DAG
from windrow import experiment
from windrow.experiment import FineTuneSection
from windrow_spark import as_overrides

SPACE = "space: {units: {type: int, low: 1, high: 2}}"


def page(text: str = "") -> windrow_dags.Page:
    return windrow_dags.Page(Path("digits.yaml"), experiment.parse(f"name: digits\n{SPACE}\n{text}"))


def write(folder: Path, **pages: str) -> Path:
    for name, text in pages.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def messages(pages: windrow_dags.Pages) -> str:
    return "\n".join(str(error) for error in pages.broken)


def test_pages_come_in_the_order_of_their_files_and_other_files_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, b=f"name: x\n{SPACE}", a=f"name: y\n{SPACE}")
    (tmp_path / "network.py").write_text("raise SystemExit")
    pages = windrow_dags.find_pages(tmp_path)
    assert [found.name for found in pages.sound] == ["y", "x"]
    assert pages.broken == ()


def test_no_folder_is_no_pages(tmp_path: Path) -> None:
    assert windrow_dags.find_pages(tmp_path / "none") == windrow_dags.Pages((), ())


def test_a_broken_page_hides_no_other(tmp_path: Path) -> None:
    write(tmp_path, bad="name: 3", good=f"name: good\n{SPACE}", binary="\x00")
    pages = windrow_dags.find_pages(tmp_path)
    assert [found.name for found in pages.sound] == ["good"]
    assert len(pages.broken) == 2


def test_the_second_page_of_a_name_is_broken(tmp_path: Path) -> None:
    pages = windrow_dags.find_pages(write(tmp_path, a=f"name: x\n{SPACE}", b=f"name: x\n{SPACE}"))
    assert len(pages.sound) == 1
    assert "name: must be unique; got 'x', as in a.yaml; rename one" in messages(pages)


def test_a_cron_expression_that_airflow_could_not_read_breaks_its_page_and_no_dag_file(tmp_path: Path) -> None:
    text = f"name: x\n{SPACE}\nsweep: {{schedule: every day}}\nscoring: {{feed: x, schedule: '61 * * * *'}}"
    found = messages(windrow_dags.find_pages(write(tmp_path, a=text)))
    assert "sweep.schedule (line 3): must be a cron expression" in found
    assert "scoring.schedule (line 4): must be a cron expression" in found


@pytest.mark.parametrize(
    "run_id",
    ["manual__2026-11-23T10:00:00+00:00", "asset_triggered__2026-11-23T10:00:00.1+00:00_aB3", "..", "/", "x" * 250],
)
def test_a_run_folder_is_one_safe_name_under_the_dags_folder(run_id: str, tmp_path: Path) -> None:
    folder = Path(windrow_dags.run_folder("train_digits", run_id))
    assert folder.parent == tmp_path / "home" / "runs" / "train_digits"
    assert folder.name
    assert not set(folder.name) & set(":+*?[]{}/ ")
    assert folder == Path(windrow_dags.run_folder("train_digits", run_id))


def test_run_ids_that_differ_in_unsafe_letters_only_keep_apart() -> None:
    ids = ["a:b", "a+b", "a b", "a-b", "a/b", ".a-b"]
    assert len({windrow_dags.run_folder("d", run_id) for run_id in ids}) == len(ids)


def test_nightly_and_after_a_champion() -> None:
    schedule = windrow_dags.scoring_schedule(page("scoring: {feed: x, schedule: '5 4 * * *'}"))
    assert schedule.timetable.expression == "5 4 * * *"
    assert [asset.uri for asset in schedule.asset_condition.objects] == ["x-mlflow://models/digits"]


@pytest.mark.parametrize(
    ("now", "first"),
    [
        ("2026-11-25T02:59:00", "2026-11-25T03:00:00"),
        ("2026-11-25T03:00:20", "2026-11-25T03:00:00"),  # the scheduler is a little late
        ("2026-11-25T03:06:00", "2026-11-26T03:00:00"),
        ("2026-11-25T05:00:00", "2026-11-26T03:00:00"),  # Airflow's own limit is 05:24
        ("2026-11-25T23:59:59", "2026-11-26T03:00:00"),
    ],
)
def test_a_dag_that_has_never_run_makes_up_for_no_past_hour(now: str, first: str) -> None:
    """As the scheduler asks, after the DAG's way through the database."""
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("nightly", schedule=windrow_dags.cron("0 3 * * *"), catchup=False) as dag:
        pass
    kept = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    with patch("airflow.timetables.trigger.utcnow", return_value=datetime.fromisoformat(now).replace(tzinfo=UTC)):
        found = kept.next_dagrun_info(last_automated_run_info=None)
    assert found.run_after.isoformat() == f"{first}+00:00"


def test_only_after_a_champion() -> None:
    assert windrow_dags.scoring_schedule(page("scoring: {feed: x, schedule: null}")) == [
        windrow_dags.champion("digits")
    ]


def test_the_champion_of_another_page_is_followed() -> None:
    text = "scoring: {feed: x, schedule: null, model: 'models:/mnist@champion'}"
    assert windrow_dags.scoring_schedule(page(text)) == [windrow_dags.champion("mnist")]


@pytest.mark.parametrize(("schedule", "expected"), [("null", None), ("'0 3 * * *'", windrow_dags.cron("0 3 * * *"))])
def test_a_pinned_version_has_no_champion_to_wait_for(schedule: str, expected: Any) -> None:
    text = f"scoring: {{feed: x, schedule: {schedule}, model: 'models:/digits/3'}}"
    assert windrow_dags.scoring_schedule(page(text)) == expected


@pytest.mark.parametrize("model", ["digits", "Ziffern-ä", "a b?c#d", "self", "x" * 250])
def test_any_registered_model_name_makes_an_asset(model: str) -> None:
    asset = windrow_dags.champion(model)
    assert asset.name.isascii()
    assert asset == windrow_dags.champion(model)


def field(key: str, text: str = "") -> Any:
    return windrow_dags.form(page(text), {"Sweep": (key,)})[key]


def test_a_number_has_the_pages_value_the_models_range_and_its_help() -> None:
    param = field("sweep.trials", "sweep: {trials: 7}")
    assert param.value == 7
    assert (param.schema["type"], param.schema["minimum"], param.schema["maximum"]) == ("integer", 1, 100_000)
    assert (param.schema["title"], param.schema["section"]) == ("Trials", "Sweep")
    assert param.schema["description_md"] == "points to train (sweep.trials)"


def test_a_choice_lists_its_values() -> None:
    samplers = ["grid", "quasi_random", "random", "sensitivity", "tpe", "gp", "cma_es"]
    assert sorted(field("sweep.sampler").schema["enum"]) == sorted(samplers)


def test_a_word_that_yaml_could_misread_is_a_choice_like_any_other() -> None:
    param = field("sweep.pruner")
    assert (param.schema["type"], param.schema["enum"], param.value) == ("string", ["none", "asha", "median"], "none")


@pytest.mark.parametrize("key", ["sweep.budget_seconds", "sweep.trial_seconds"])
def test_a_limit_in_seconds_may_be_empty_but_not_nothing(key: str) -> None:
    param = field(key)
    assert (param.schema["type"], param.value) == (["number", "null"], None)
    assert [param.resolve(value) for value in (None, 0.5, 60)] == [None, 0.5, 60]
    with pytest.raises(ValueError, match="0 is less than or equal to the minimum of 0"):
        param.resolve(0)
    assert field(key, f"sweep: {{{key.partition('.')[2]}: 90}}").value == 90.0


def test_a_value_that_may_be_empty_takes_null_and_keeps_its_range() -> None:
    for key in ("sweep.slots", "sweep.patience"):
        param = field(key)
        assert (param.schema["type"], param.schema["minimum"], param.value) == (["integer", "null"], 1, None)


def test_every_field_accepts_its_own_default() -> None:
    sections = {"All": tuple(key for key in experiment.keys() if key.count(".") == 1 and "*" not in key)}  # noqa: SIM118
    form = windrow_dags.form(page("scoring: {feed: x}"), sections)
    for param in form.values():
        param.resolve()


def test_what_the_form_gives_when_nothing_is_changed_is_the_page() -> None:
    keys = tuple(key for key in experiment.keys() if key.startswith("sweep.") and key.count(".") == 1)  # noqa: SIM118
    params = {key: param.resolve() for key, param in windrow_dags.form(page(), {"Sweep": keys}).items()}
    assert experiment.parse(f"name: digits\n{SPACE}\n", as_overrides(params)) == page().experiment


HEADS = "dataset: {source: photos, fit: squash}\nnetwork: {backbone: lite0}\n"
"""A page whose winner can be fine-tuned, but for its section promotion."""


def fine_tune(promotion: str) -> Any:
    return windrow_dags.form(page(f"{HEADS}promotion: {promotion}"), {"P": ("promotion.fine_tune",)})


def test_a_section_inside_a_section_is_json_with_its_keys_and_their_limits() -> None:
    param = fine_tune("{seeds: 2}")["promotion.fine_tune"]
    assert (param.schema["type"], param.value) == (["object", "null"], None)
    assert param.schema["description_md"] == (
        "further training of the winner on images, with the end of its backbone; none if empty; JSON with any of "
        "blocks, epochs, learning_rate (promotion.fine_tune)"
    )
    assert param.resolve({"blocks": 2}) == {"blocks": 2}
    for wrong in ({}, {"blocks": 0}, {"blocks": "2"}, {"layers": 2}, 3):
        with pytest.raises(ValueError, match=r"non-empty|minimum|is not of type|Additional properties"):
            param.resolve(wrong)


@pytest.mark.parametrize("promotion", ["{seeds: 2}", "{seeds: 2, fine_tune: {}}", "{seeds: 2, fine_tune: {blocks: 5}}"])
def test_a_section_inside_a_section_that_is_not_changed_is_the_pages(promotion: str) -> None:
    params = {key: param.resolve() for key, param in fine_tune(promotion).items()}
    whole = f"name: digits\n{SPACE}\n{HEADS}promotion: {promotion}"
    assert experiment.parse(whole, as_overrides(params)) == experiment.parse(whole)


def test_further_overrides_reach_into_a_section_that_the_form_leaves_out() -> None:
    params = {key: param.resolve() for key, param in fine_tune("{seeds: 2}").items()}
    params["set"] = ["promotion.fine_tune.epochs=7"]
    found = experiment.parse(f"name: digits\n{SPACE}\n{HEADS}promotion: {{seeds: 2}}", as_overrides(params))
    assert found.promotion.fine_tune == FineTuneSection(epochs=7)


@pytest.mark.parametrize("value", [["sweep.trials"], ["=3"], [3], "sweep.trials=3"])
def test_overrides_of_another_form_are_refused_by_the_form(value: Any) -> None:
    with pytest.raises(ValueError, match=r"is not of type|does not match"):
        windrow_dags.form(page(), {})["set"].resolve(value)
