"""The demo's figures as the README shows them, for whoever finds them again."""

from __future__ import annotations

import re

from harness.documents import text_of

MEASURED_ON = "x86_64"
"""The processor that the README's figures are of, as platform.machine() calls it."""


def told(lines: list[str]) -> list[str]:
    """Lines of a summary as they are compared: without margins and the DAGs that are paused, and statuses by name.

    Statuses of as many URLs stand in the order in which their images came.
    """
    return [_by_name(line.strip()) for line in lines if not line.strip().startswith("DAGs ")]


def _by_name(line: str) -> str:
    if not line.startswith("statuses"):
        return line
    counts = [count.strip() for count in line.removeprefix("statuses").split(",")]
    return f"statuses  {', '.join(sorted(counts))}"


def _shown() -> list[str]:
    """The README's lines from the trials to the labels; time and memory are a machine's own."""
    block = text_of("README.md").partition("    digits: done\n")[2].partition("      time ")[0]
    return told(re.findall(r"^      .+$", block, re.MULTILINE))


README = _shown()
