"""docs/jobs.md: it has every job, each with all its options and with the keys of its result."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
from harness.documents import REPOSITORY, text_of
from harness.results import documented, names, section
from windrow import errors

JOBS = sorted(path.stem for path in (REPOSITORY / "jobs").glob("*.py"))


def options(job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The options that a job's own help names."""
    monkeypatch.setattr(sys, "argv", [f"{job}.py", "--help"])
    with pytest.raises(SystemExit):
        importlib.import_module(job).parse_args()
    return set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))


def test_every_job_has_its_section() -> None:
    titles = re.findall(r"^## (\w+)\.py$", text_of("docs/jobs.md"), re.MULTILINE)
    assert sorted(titles) == JOBS


@pytest.mark.parametrize("job", JOBS)
def test_a_job_has_all_its_options_and_no_others(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = {re.split(r"[ =]", name)[0] for name in names(section(f"{job}.py"), "option")}
    common = {re.split(r"[ =]", name)[0] for name in names(section("All jobs"), "option")}
    known = options(job, monkeypatch, capsys)
    assert known == shown | (common & known)
    assert common - known <= {"--experiment", "--set"}, "each job has --result"


@pytest.mark.parametrize("job", JOBS)
def test_every_key_of_a_result_is_made_somewhere(job: str) -> None:
    """That none is missing is what tests/harness/jobs.py looks at whenever a test runs a job."""
    code = "\n".join(path.read_text() for path in (REPOSITORY / "jobs").rglob("*.py"))
    made = re.sub(r"^(mean|p50|p95)_", "", "\n".join(sorted(documented(job))), flags=re.MULTILINE).splitlines()
    assert [key for key in made if not re.search(rf'"{key}"|^    {key}: ', code, re.MULTILINE)] == []


def test_the_exit_codes_are_the_programs() -> None:
    shown = dict(re.findall(r"^\| (\d) \| ([^|.:]*)", section("All jobs"), re.MULTILINE))
    assert shown["0"].strip() == "done"
    assert "you can fix" in shown[str(errors.EXIT_USER_ERROR)]
    assert shown[str(errors.EXIT_FAILURE)] == "anything else"
    assert len(shown) == len({0, errors.EXIT_USER_ERROR, errors.EXIT_FAILURE})


def test_preparing_a_data_set_gives_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import prepare_dataset

    monkeypatch.setenv("WINDROW_HOME", str(tmp_path))
    page = REPOSITORY / "dags" / "experiments" / "digits.yaml"
    given = prepare_dataset.parse_args(["--experiment", str(page), "--out", str(tmp_path / "data")])
    assert set(prepare_dataset.prepare(given)) == documented("prepare_dataset")
