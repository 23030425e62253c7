"""Commands that README and docs/ name are read by the tools that would run them: make, the jobs, Spark, Airflow."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.airflow import Airflow
from harness.documents import PAGES, REPOSITORY, commands, text_of
from windrow import experiment

MAKEFILE = text_of("Makefile")
MAKE = sorted({line for page in PAGES for line in commands(page, r"make( |$)")})
JOB = sorted({line for page in PAGES for line in commands(page, r"(spark-submit .*|python )?jobs/[a-z_]+\.py .*--")})
BENCH = sorted({line for page in PAGES for line in commands(page, r".*\bbench/\w+\.py ")})
SUBMIT = sorted({line for page in PAGES for line in commands(page, r"spark-submit ") if "NAME" not in line})
SUBMIT += re.findall(r"^# \w+\.py: (spark-submit .*)$", text_of("docs/feeds.md"), re.MULTILINE)
AIRFLOW = sorted({line for page in PAGES for line in commands(page, r"airflow \w+ ")})
DOCKER = sorted({line for page in PAGES for line in commands(page, r".*docker (compose|run) ")})


def words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


def told(*arguments: str) -> str:
    """What make says without doing anything."""
    command = ["make", "--dry-run", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("command", MAKE)
def test_make_knows_every_target_and_variable_that_is_named(command: str) -> None:
    given = words(command)[1:]
    assert {word for word in given if "=" not in word} <= targets()
    recipe = told(*given)
    assert recipe.strip() or not given
    compose = text_of("docker/compose.yaml")
    for variable in (word.partition("=")[0] for word in given if "=" in word):
        known = rf"\$\({variable}\)|\$\{{{variable}\b|^{variable} [?:]?="
        assert re.search(known, MAKEFILE + compose, re.MULTILINE), f"nothing reads {variable}"


def test_the_named_commands_are_all_there_and_not_none() -> None:
    """The patterns above still find what they are for."""
    named = {word for command in MAKE for word in words(command)[1:] if "=" not in word}
    assert {"demo", "unit", "test", "test-faults", "test-cluster", "coverage", "screenshots", "up", "down"} <= named
    assert all((JOB, BENCH, SUBMIT, AIRFLOW, DOCKER))


def test_help_has_a_line_for_every_target_and_no_line_is_cut() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=True
    )
    lines = dict(re.findall(r"^make (\S+) +(\S.*)$", done.stdout, re.MULTILINE))
    assert set(lines) == targets()
    assert len(done.stdout.splitlines()) == len(lines)


def test_every_target_is_made_whatever_files_there_are() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == targets()


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("unit", "-m unit"),
        ("test", "python -m pytest"),
        ("test-faults", "WINDROW_HYPOTHESIS=thorough"),
        ("test-faults", "-m 'faults or hypothesis'"),
        ("test-cluster", "-m cluster tests/cluster"),
        ("coverage", "coverage run"),
        ("screenshots", "WINDROW_PICTURES=docs/pictures"),
        ("lock", "pip compile --quiet --universal --python-version 3.11 --no-emit-index-url"),
        ("up", "windrow.containers.compose up"),
        ("start", "windrow.laptop.stack up"),
        ("stop", "windrow.laptop.stack stop"),
        ("new", "windrow.laptop.page.new --name"),
        ("train", "windrow.laptop.page.page_runs train --experiment"),
        ("score", "windrow.laptop.page.page_runs score --experiment"),
        ("airflow", "windrow.laptop.stack airflow"),
        ("lint", "mypy --python-version 3.13"),
    ],
)
def test_a_target_runs_what_it_is_for(target: str, command: str) -> None:
    assert command in told(target)


def test_arguments_reach_every_target_that_runs_tests() -> None:
    for target in ("unit", "test", "test-faults", "test-cluster", "coverage"):
        assert "-k an_odd_word" in told(target, "ARGS=-k an_odd_word"), target


def parsed(command: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a job's own parser makes of a command line that has jobs/NAME.py in it."""
    rest = command[command.index("jobs/") :].partition(" && ")[0]
    rest = rest.replace(" ... ", " --experiment PAGE --dataset D --study S ")
    script, *arguments = words(rest.replace(" PAGE ", " dags/experiments/digits.yaml "))
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    return importlib.import_module(script.removeprefix("jobs/").removesuffix(".py")).parse_args()


@pytest.mark.parametrize("command", JOB)
def test_a_job_takes_every_option_that_is_named_and_the_page_every_override(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = vars(parsed(command, monkeypatch))
    if page := options.get("experiment"):
        assert experiment.load(REPOSITORY / page, options["overrides"]).name


@pytest.mark.parametrize("command", BENCH)
def test_a_measurement_knows_every_option_that_is_named(command: str) -> None:
    """The scripts need their peers' packages, which are in no lock: what is read is their text."""
    script = re.findall(r"bench/(\w+\.py)", command)[-1]
    source = text_of(f"bench/{script}") + text_of("bench/arguments.py")
    options = re.findall(r" (--[a-z][a-z-]*)", command.partition(script)[2].partition("#")[0])
    assert [option for option in options if f'"{option}"' not in source] == []


def test_the_compose_file_has_every_service_that_is_named() -> None:
    compose = yaml.safe_load(text_of("docker/compose.yaml"))
    for command in DOCKER:
        named = re.findall(r"(?<= )(?:spark|airflow)-[a-z-]+(?= |$)", command)
        assert set(named) <= {*compose["services"], "spark-class"}, command
        assert "--project-directory docker" in command or "docker run" in command, command


@pytest.mark.spark
@pytest.mark.parametrize("command", SUBMIT)
def test_spark_submit_takes_every_option_that_is_named(command: str, spark_submit: Callable[..., Any]) -> None:
    given = [word for word in words(command)[1:] if word != "..."]
    script = next(index for index, word in enumerate(given) if word.endswith(".py"))
    read = spark_submit(*given)
    assert read.primaryResource().endswith(given[script])
    assert read.childArgs().mkString("|") == "|".join(given[script + 1 :])


@pytest.mark.airflow
def test_airflow_takes_every_command_that_is_named(tmp_path: Path) -> None:
    script = """
import json, sys
from airflow.cli.cli_parser import get_parser
for words in json.loads(sys.argv[1]):
    print(callable(get_parser().parse_args(words).func))
"""
    given = json.dumps([words(command)[1:] for command in AIRFLOW])
    command = [sys.executable, "-c", script, given]
    done = subprocess.run(command, env=Airflow(tmp_path).environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines().count("True") == len(AIRFLOW)
