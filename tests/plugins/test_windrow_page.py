"""The Windrow page without a server: its files, and what its plugin loads. tests/stack asks a real server for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ASSETS = REPOSITORY / "jobs" / "windrow" / "ui" / "assets"


def test_the_page_itself_has_no_inline_script_or_style_and_asks_nobody_else() -> None:
    text = (ASSETS / "page.html").read_text()
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|https?://|//", text.replace("<!doctype", ""))
    for path in ASSETS.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|https?://", path.read_text()
        )


@pytest.mark.airflow
def test_the_plugin_loads_nothing_slow_beside_airflows_own_plugin_manager() -> None:
    script = "import sys, airflow.plugins_manager\nknown = set(sys.modules)\nimport windrow_page\n"
    script += "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - known}))"
    folder = f"{REPOSITORY / 'jobs'}:{REPOSITORY / 'plugins'}"
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": folder, "AIRFLOW_HOME": "/nonexistent"}
    variables["_AIRFLOW__AS_LIBRARY"] = "1"
    told = subprocess.run([sys.executable, "-c", script], env=variables, check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["windrow_page"]
