"""What a job's processes get, print and leave: environment, error messages, process groups."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from windrow_process import GRACE_SECONDS, ErrorSentence, ProcessGroup, environment


def test_the_last_error_sentence_counts_with_its_indented_lines() -> None:
    sentence = ErrorSentence()
    output = [
        "start\n",
        "error: old\n",
        "\n",
        "  not part of it\n",
        "error: two mistakes\n",
        "  a: 1\n",
        "  b: 2\n",
        "bye\n",
        "  c\n",
    ]
    assert list(sentence.listen(iter(output))) == [line for line in output if line.strip()]
    assert sentence.text == "two mistakes\n  a: 1\n  b: 2"
    assert sentence.last_line == "  c"


def test_no_error_sentence_is_an_empty_one() -> None:
    sentence = ErrorSentence()
    assert list(sentence.listen(iter([]))) == []
    assert (sentence.text, sentence.last_line) == ("", "nothing")


def test_the_environment_keeps_what_the_user_has_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", "/opt/python")
    monkeypatch.setenv("PYTHONPATH", "/opt/mine")
    monkeypatch.setenv("SPARK_SUBMIT_OPTS", "-Dmine=1")
    variables = environment(tmp_path)
    assert variables["PYSPARK_PYTHON"] == "/opt/python"
    assert variables["PYTHONPATH"].endswith(":/opt/mine")
    assert variables["SPARK_SUBMIT_OPTS"].endswith(" -Dmine=1")
    assert variables["PATH"].startswith(str(Path(sys.executable).parent))


def member(group: ProcessGroup, script: str, then: str = "sleep 1000") -> subprocess.Popen[str]:
    """A shell in the group; it has said a line when this returns, so its traps are set."""
    command = ["/bin/sh", "-c", f"{script}; echo ready; {then}"]
    child = subprocess.Popen(command, process_group=group.id, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.fixture
def grace(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Another time from SIGTERM to SIGKILL: one that is over at once, or one that no test lives to see the end of."""
    return lambda seconds: monkeypatch.setattr("windrow_process.GRACE_SECONDS", seconds)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "C.UTF-8"),
        ({"LANG": "C"}, "C.UTF-8"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "POSIX"}, "C.UTF-8"),
        ({"LANG": "de_DE.UTF-8"}, None),
        ({"LC_ALL": "C.UTF-8"}, None),
    ],
)
def test_a_job_gets_a_locale_in_which_java_keeps_all_letters(
    variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment(tmp_path).get("LC_ALL") == expected


def test_a_group_ends_at_once_when_its_members_take_the_hint(grace: Callable[[float], None]) -> None:
    grace(10_000.0)
    group = ProcessGroup()
    child = member(group, "true")
    group.end(child)
    assert child.wait(5) == -signal.SIGTERM
    assert group.stopped


def test_a_member_that_tidies_up_first_is_given_the_time(grace: Callable[[float], None]) -> None:
    grace(10_000.0)
    group = ProcessGroup()
    child = member(group, "trap 'exit 7' TERM", "while :; do sleep 0.01; done")
    group.end(child)
    assert child.wait(5) == 7


def test_a_member_that_ignores_sigterm_is_killed_after_the_grace(grace: Callable[[float], None]) -> None:
    grace(0.2)
    group = ProcessGroup()
    child = member(group, "trap '' TERM")
    group.end(child)
    assert child.wait(5) == -signal.SIGKILL


def test_the_grace_is_over_before_airflow_kills_the_task() -> None:
    from airflow.sdk.execution_time.supervisor import WatchedSubprocess

    airflows = inspect.signature(WatchedSubprocess.kill).parameters["escalation_delay"].default
    assert 2 <= GRACE_SECONDS < airflows
    assert f"sleep {GRACE_SECONDS:.0f}" in ProcessGroup._GUARD  # and where the task was killed, the guard's is the same


def test_a_group_whose_job_is_done_was_not_stopped_and_ends_twice_without_harm() -> None:
    group = ProcessGroup()
    child = subprocess.Popen(["true"], process_group=group.id, text=True)
    child.wait()
    group.end(child)
    group.end(child)
    assert not group.stopped


def test_what_a_finished_job_left_behind_is_ended_too(grace: Callable[[float], None]) -> None:
    grace(0.2)  # the stray is this process's own child, and counts as alive until it is waited for
    group = ProcessGroup()
    stray = member(group, "true")
    child = subprocess.Popen(["true"], process_group=group.id, text=True)
    child.wait()
    group.end(child)
    assert stray.wait(5) < 0
