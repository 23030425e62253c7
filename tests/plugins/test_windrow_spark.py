"""SparkJob's parts, without Spark: command lines, links, results."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from windrow import experiment
from windrow_process import JobResult, ProcessGroup
from windrow_spark import ResultLink, SparkJob, as_options, as_overrides

NASTY = [
    "",
    "null",
    "1e-3",
    "yes",
    "a: b",
    "[1",
    "# no comment",
    'it\'s "quoted"',
    "line\nbreak",
    "ümläut 🌾",
    "{{ x }}",
]


def test_options_are_strings_repeat_for_lists_drop_what_is_empty_and_stand_alone_if_true() -> None:
    arguments = {
        **{"out": Path("a b"), "batch_size": 3, "feed": ["x", "y"], "none": None, "empty": [], "reject": ""},
        **{"flag": True, "off": False, "zero": 0, "by": "True"},
    }
    assert as_options(arguments) == [
        *("--out", "a b", "--batch-size", "3", "--feed", "x", "--feed", "y", "--flag", "--zero", "0", "--by", "True"),
    ]


def test_params_become_overrides_and_free_ones_come_last() -> None:
    params = {
        "set": ["sweep.trials=9"],
        "reproduce": None,
        "sweep.trials": 8,
        "sweep.slots": None,
        "promotion.minimum_improvement": 1e-05,
    }
    assert as_overrides(params) == [
        *("sweep.trials=8", "sweep.slots=null", "promotion.minimum_improvement=1e-05", "sweep.trials=9"),
    ]


@pytest.mark.parametrize("text", NASTY)
def test_any_text_in_the_form_arrives_on_the_page_as_it_is(text: str) -> None:
    page = "name: a\nspace: {units: {type: int, low: 1, high: 2}}"
    assert experiment.parse(page, as_overrides({"description": text})).description == text


@pytest.mark.parametrize(
    ("params", "value"),
    [({"promotion.minimum_improvement": 1e-05}, 1e-05), ({"promotion.minimum_improvement": 0}, 0.0)],
)
def test_a_number_stays_a_number(params: dict[str, float], value: float) -> None:
    page = "name: a\nspace: {units: {type: int, low: 1, high: 2}}"
    assert experiment.parse(page, as_overrides(params)).promotion.minimum_improvement == value


def test_a_job_is_the_one_that_its_task_is_named_after_unless_it_names_another() -> None:
    assert SparkJob(task_id="sweep").job == "sweep"
    assert SparkJob(task_id="record_decision", job="promote_best").job == "promote_best"


def test_a_link_without_an_address_is_empty_so_that_its_button_is_hidden() -> None:
    link = ResultLink("MLflow run", "mlflow_run")
    assert link.get_link(SimpleNamespace(links={"mlflow_run": "http://m/1"}), ti_key=None) == "http://m/1"
    assert link.get_link(SimpleNamespace(links={"mlflow_run": None}), ti_key=None) == ""
    assert link.get_link(SimpleNamespace(), ti_key=None) == ""


@pytest.mark.parametrize(("code", "again"), [(1, True), (2, False), (3, True)])
def test_exit_code_2_alone_is_not_tried_again(code: int, again: bool) -> None:
    failure = SparkJob(task_id="sweep", job="sweep")._failure(code)
    assert isinstance(failure, AirflowException)
    assert isinstance(failure, AirflowFailException) is not again


class Interrupted(SparkJob):  # type: ignore[misc]
    """A job whose process, `sleep`, ends either with the task or by itself."""

    def _execute(self, context: dict[str, Any]) -> JobResult:
        self._group = ProcessGroup()
        with subprocess.Popen(["sleep", context["seconds"]], process_group=self._group.id, text=True) as child:
            if context["seconds"] == "0":
                child.wait()
            self._group.end(child)
        raise self._failure(child.returncode or 1)


@pytest.mark.parametrize(("seconds", "stored"), [("0", ["cause"]), ("600", [])])
def test_a_job_that_is_stopped_with_its_task_stores_no_cause_as_its_note_says_who_stopped_it(
    seconds: str, stored: list[str]
) -> None:
    pushed: list[str] = []
    task_instance = SimpleNamespace(xcom_push=lambda key, value: pushed.append(key))
    with pytest.raises(AirflowException):
        Interrupted(task_id="sweep").execute({"ti": task_instance, "seconds": seconds})
    assert pushed == stored


@pytest.mark.parametrize("content", [None, "", "[1]", "{"])
def test_a_job_without_a_result_fails(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(AirflowException, match=r"^forgetful must write (its result as JSON|a JSON object) to --result"):
        SparkJob(task_id="forgetful", job="sweep")._read(tmp_path / "result.json")
