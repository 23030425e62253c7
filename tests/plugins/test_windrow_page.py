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


AIRFLOWS_BLUE = "#017cee"


@pytest.mark.parametrize(
    ("icon", "ground"),
    [
        ("icon.svg", "#ffffff"),
        ("icon.svg", AIRFLOWS_BLUE),
        ("icon-dark.svg", "#18181b"),
        ("icon-dark.svg", AIRFLOWS_BLUE),
    ],
)
def test_the_icon_is_seen_on_the_navigation_chosen_or_not(icon: str, ground: str) -> None:
    """3 to 1 is what WCAG 2.2, 1.4.11, asks of a graphic."""
    strokes = re.findall(r'stroke="(#\w+)"', (ASSETS / icon).read_text())
    assert max(contrast(stroke, ground) for stroke in strokes) >= 3


def contrast(one: str, other: str) -> float:
    """The contrast of two colours by WCAG, 1 to 21."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.airflow
def test_the_plugin_loads_nothing_slow_beside_airflows_own_plugin_manager() -> None:
    script = "import sys, airflow.plugins_manager\nknown = set(sys.modules)\nimport windrow_page\n"
    script += "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - known}))"
    folder = f"{REPOSITORY / 'jobs'}:{REPOSITORY / 'plugins'}"
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": folder, "AIRFLOW_HOME": "/nonexistent"}
    variables["_AIRFLOW__AS_LIBRARY"] = "1"
    told = subprocess.run([sys.executable, "-c", script], env=variables, check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["windrow_page"]
