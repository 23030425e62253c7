"""docs/table.md: it has every column and every status, and its readers find the newest row of each URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from harness.documents import blocks, text_of
from harness.predictions import add_predictions
from windrow.experiment import ScoringSection
from windrow.scoring.fetch.status import Status
from windrow.scoring.table.prediction import SCHEMA

PAGE = "docs/table.md"
TYPES = {
    pa.string(): "string",
    pa.int32(): "int",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.timestamp("us", tz="UTC"): "timestamp",
}


def rows(title: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = text_of(PAGE).partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_column_is_there_in_order_with_its_type() -> None:
    shown = [(name.strip("`"), kind) for name, kind, _ in rows("Columns")]
    assert shown == [(field.name, TYPES.get(field.type, "list")) for field in SCHEMA]
    (ranked,) = [meaning for name, _, meaning in rows("Columns") if name == "`top_k`"]
    assert [field.name for field in SCHEMA.field("top_k").type.value_type if f"`{field.name}`" not in ranked] == []


def test_every_status_is_there_with_its_kind() -> None:
    shown = {name.strip("`"): kind for name, kind, _ in rows("Statuses")}
    assert shown == {status.value: "passing" if status.passing else "final" for status in Status}


def test_every_key_that_decides_a_status_is_there() -> None:
    section = text_of(PAGE).partition("### When a key of the page decided\n")[2].partition("\n### ")[0]
    lines = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    shown = {
        status: set(re.findall(r"`([\w.]+)`", keys)) for cell, keys in lines for status in re.findall(r"`(\w+)`", cell)
    }
    assert shown == {status.value: set(status.deciding_keys) for status in Status if status.rule.keys}


def test_a_row_is_final_after_as_many_attempts_as_it_says() -> None:
    found = re.search(r"in `scoring.attempts` runs \((\d+) by default\)", " ".join(text_of(PAGE).split()))
    pause = re.search(r"`scoring.retry_hours` \((\d+) by default\)", " ".join(text_of(PAGE).split()))
    assert found is not None
    assert pause is not None
    defaults = ScoringSection(feed="feeds")
    assert (defaults.attempts, defaults.retry_hours) == (int(found[1]), float(pause[1]))


@pytest.mark.spark
def test_each_reader_finds_the_newest_row_of_each_url(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = "http://127.0.0.1/first.png", "http://127.0.0.1/second.png"
    table = tmp_path / "var" / "tables" / "digits"
    add_predictions(table, "1", {first: (1, 0.5), second: (2, 0.5)})
    add_predictions(table, "2", {first: (7, 0.75)})
    pandas, on_spark = [block.text for block in blocks(PAGE, "python") if block.text.startswith("from deltalake")]
    for code in (pandas, on_spark):
        names: dict[str, Any] = {}
        exec(compile(code, PAGE, "exec"), names)
        newest = names["newest"].toPandas() if code is on_spark else names["newest"]
        assert dict(zip(newest["url"], newest["label"], strict=True)) == {first: "7", second: "2"}
        assert "http://127.0.0.1" in capsys.readouterr().out  # Spark and pandas cut long cells
