"""A withheld run: whole or not there, found by the same work only, and out of every reader's sight."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from windrow import experiment
from windrow.errors import PageError
from windrow.experiment import ScoringSection
from windrow.scoring.feed.feed_marks import Mark
from windrow.scoring.table import withheld
from windrow.scoring.table.predictions_table import PredictionTable, parts
from windrow.scoring.table.withheld import WithheldRun

from .test_predictions_table import urls_in, write_rows

MARKS = {"/feeds/one.txt": Mark(3, 4, "digest", 3)}
RUN = WithheldRun("r1", "work", {"rows": 1, "psi_labels": 0.5, "drift": {"moved": ["a", 0.1, 0.6]}}, [], MARKS, 1e9)


def settings(**more: Any) -> ScoringSection:
    page = experiment.parse("name: a\nspace: {units: {type: int, low: 1, high: 2}}\nscoring: {feed: x}\n")
    assert page.scoring is not None
    return page.scoring.model_copy(update=more)


def aside(table: Path, run: WithheldRun = RUN) -> PredictionTable:
    """A table with a run that has one row put aside."""
    predictions = PredictionTable(table)
    write_rows(table / f"run-{run.run_id}", "a")
    withheld.keep(predictions.folder, table / f"run-{run.run_id}", run)
    return predictions


def test_what_is_put_aside_comes_back_as_it_was(tmp_path: Path) -> None:
    table = tmp_path / "t"
    run = replace(RUN, replaced=[table / "run-r0" / "part-0.parquet"])
    predictions = aside(table, run)
    assert withheld.read(table) == run
    assert urls_in(table) == []
    with predictions.staged("r1") as rows:
        withheld.restore(table, run, rows)
        predictions.commit(rows, "r1", {"figures": run.figures}, marks=run.marks)
    assert urls_in(table) == ["http://example.com/a"]
    assert PredictionTable(table).seen() == MARKS
    assert withheld.read(table) is None


def test_no_vacuum_and_no_reader_takes_it_for_the_tables(tmp_path: Path) -> None:
    from deltalake import DeltaTable

    predictions = aside(tmp_path / "t")
    delta = DeltaTable(str(predictions.folder))
    assert delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True) == []
    assert withheld.read(predictions.folder) == RUN
    assert len(parts(predictions.folder / "_windrow" / "withheld" / "run-r1")) == 1


def test_half_of_it_is_nothing(tmp_path: Path) -> None:
    table = aside(tmp_path / "t").folder
    rows = table / "_windrow" / "withheld" / "run-r1"
    rows.rename(table / "elsewhere")
    assert withheld.read(table) is None
    (table / "elsewhere").rename(rows)
    (rows.parent / "night.json").unlink()
    assert withheld.read(table) is None
    withheld.discard(table)
    assert not rows.parent.exists()
    assert withheld.read(tmp_path) is None


def test_a_later_run_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    aside(tmp_path / "t")
    later = replace(RUN, run_id="r2")
    table = aside(tmp_path / "t", later).folder
    assert withheld.read(table) == later
    assert [path.name for path in (table / "_windrow" / "withheld").iterdir() if path.is_dir()] == ["run-r2"]


def test_work_is_the_same_whatever_the_gate_and_another_for_anything_that_decides_rows() -> None:
    usual = withheld.digest(MARKS, 3, "m/1/abc", False, settings())
    for gate in (settings(drift_gate=0.25), settings(schedule=None), settings(feed="y"), settings(publish="s3://b/t")):
        assert withheld.digest(MARKS, 3, "m/1/abc", False, gate) == usual
    more = {**MARKS, "/feeds/two.txt": Mark(1, 1, "other", 1)}
    others = [
        withheld.digest(more, 3, "m/1/abc", False, settings()),
        withheld.digest(MARKS, 4, "m/1/abc", False, settings()),
        withheld.digest(MARKS, 3, "m/2/abc", False, settings()),
        withheld.digest(MARKS, 3, "m/1/abc", True, settings()),
        withheld.digest(MARKS, 3, "m/1/abc", False, settings(max_pixels=64)),
    ]
    assert len({usual, *others}) == 6


def test_the_next_nightly_run_asks_again_and_a_scheduler_that_tries_again_does_not() -> None:
    now = time.time()
    assert replace(RUN, at=now - 11 * 3600).fresh
    assert not replace(RUN, at=now - 13 * 3600).fresh


@pytest.mark.parametrize("gate", ["0", "-0.1", ".inf", "x"])
def test_a_gate_that_is_none_is_refused(gate: str) -> None:
    text = f"name: a\nspace: {{units: {{type: int, low: 1, high: 2}}}}\nscoring: {{feed: x, drift_gate: {gate}}}\n"
    with pytest.raises(PageError, match="drift_gate"):
        experiment.parse(text)
