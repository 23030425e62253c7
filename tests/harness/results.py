"""The keys of the jobs' results, as docs/jobs.md lists them."""

from __future__ import annotations

import re
from typing import Any

from harness.documents import REPOSITORY, text_of


def section(title: str) -> str:
    """A section of docs/jobs.md."""
    return text_of("docs/jobs.md").partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def names(text: str, head: str) -> list[str]:
    """What stands between backticks in the first column of the tables with this head."""
    found: list[str] = []
    for table in re.findall(rf"^\| {head} \|.*\n(?:\|.*\n?)+", text, re.MULTILINE):
        for line in table.splitlines()[2:]:
            found += re.findall(r"`([^`]+)`", line.split(" | ")[0])
    return found


def documented(job: str) -> set[str]:
    """Every key that the page names for a job: in its table, and in a sentence on what else it returns."""
    text = section(f"{job}.py")
    sentences = re.findall(r"^(?:A rollback|`--maintain`) returns (.*?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return {*names(text, "result"), *(key for each in sentences for key in re.findall(r"`(\w+)`", each))}


def check_documented(job: str, result: dict[str, Any]) -> dict[str, Any]:
    """A job's result as it was given; the test that ran the job fails where the page lacks one of its keys."""
    if not (REPOSITORY / "jobs" / f"{job}.py").exists():  # a test's own
        return result
    absent = sorted(set(result) - documented(job))
    assert absent == [], f"docs/jobs.md must list every key of the result of {job}.py; it lacks {absent}"
    return result
