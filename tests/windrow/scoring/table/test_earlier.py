"""The labels that other versions gave last: what `--rescore` would label again, by the version of the newest label."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness.predictions import PATIENCE, labelled_row, row_of
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.table import earlier, prediction
from windrow.scoring.table.prediction import Prediction, Stamp
from windrow.scoring.table.predictions_table import PredictionTable

Rows = list[tuple[str, str, str, str]]
"""URL, model, version and status, oldest first."""


def row(url: str, model: str, version: str, status: str = "ok") -> Prediction:
    stamp = Stamp("run", model, version, "digest")
    address = f"http://a.example/{url}"
    return labelled_row(address, [0], [0.5], "ab", stamp) if status == "ok" else row_of(address, status, stamp)


def write(path: Path, rows: Rows) -> Path:
    """A file of rows, each a second younger than the one before."""
    batch = prediction.record_batch([row(*each) for each in rows], PATIENCE)
    field = batch.schema.field("scored_at")
    times = [datetime(2026, 11, 27, tzinfo=UTC) + timedelta(seconds=number) for number in range(len(rows))]
    batch = batch.set_column(batch.schema.get_field_index(field.name), field, pa.array(times, field.type))
    path.parent.mkdir(exist_ok=True, parents=True)
    with pq.ParquetWriter(path, prediction.SCHEMA) as writer:
        writer.write_batch(batch)
    return path


def test_a_url_counts_for_the_version_of_its_newest_label_unless_the_model_has_a_newer_row(tmp_path: Path) -> None:
    rows: Rows = [
        ("a", "m", "1", "ok"),
        ("a", "m", "2", "ok"),
        ("b", "m", "2", "ok"),
        ("b", "m", "1", "ok"),  # after a rollback
        ("c", "m", "1", "ok"),
        ("c", "m", "3", "timeout"),
        ("d", "m", "1", "http_error"),
        ("e", "m", "3", "ok"),
        ("f", "other", "3", "ok"),
        ("g", "m", "3", "ok"),
        ("g", "m", "4", "ok"),  # which was withdrawn, so that version 3 is champion again
        ("h", "m", "3", "ok"),
        ("h", "m", "4", "timeout"),
    ]
    file = write(tmp_path / "part-0.parquet", rows)
    assert earlier.count([file], ("m", "3")) == {"1": 1, "2": 1, "4": 1, "other/3": 1}
    assert earlier.count([], ("m", "3")) == {}
    assert earlier.count([write(tmp_path / "part-1.parquet", [])], ("m", "3")) == {}


URLS = st.sampled_from("abcd")
ROWS = st.lists(st.tuples(URLS, st.just("m"), st.sampled_from("123"), st.sampled_from(["ok", "timeout"])), max_size=12)


@given(rows=ROWS)
def test_the_count_is_that_of_a_plain_dictionary(rows: Rows) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = earlier.count([write(Path(folder) / "part-0.parquet", rows)], ("m", "3"))
    newest: dict[str, str] = {}
    for url, _, version, status in rows:  # oldest first
        if version == "3":
            newest.pop(url, None)
        elif status == "ok":
            newest[url] = version
    assert found == Counter(newest.values())


def test_numbers_are_counted_once_for_each_model_and_version_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = PredictionTable(tmp_path / "t")
    write(table.folder / "run-r0" / "part-0.parquet", [("a", "m", "1", "ok"), ("b", "m", "2", "ok")])
    kept = {"model_name": "m", "model_version": "2", "other_versions": {"1": 77}}
    table.commit(table.folder / "run-r0", "r0", {"figures": kept})
    opened = PredictionTable(table.folder)
    assert earlier.labels(opened, ("m", "2")) == {"1": 77}
    assert earlier.labels(opened, ("m", "3")) == {"1": 1, "2": 1}
    with monkeypatch.context() as patch:
        patch.setattr(earlier, "count", lambda *_: pytest.fail("the whole table was read again"))
        assert earlier.labels(opened, ("m", "3")) == {"1": 1, "2": 1}
    assert earlier.labels(opened, ("m", "1")) == {"2": 1}
    write(table.folder / "run-r1" / "part-0.parquet", [("c", "m", "2", "ok")])
    PredictionTable(table.folder).commit(table.folder / "run-r1", "r1", {})
    assert earlier.labels(PredictionTable(table.folder), ("m", "1")) == {"2": 2}


def test_the_numbers_of_an_older_windrow_are_counted_again(tmp_path: Path) -> None:
    """They left out the URLs that the champion had labelled before a rollback: nothing was ever labelled again."""
    table = PredictionTable(tmp_path / "t")
    write(table.folder / "run-r0" / "part-0.parquet", [("a", "m", "1", "ok"), ("a", "m", "2", "ok")])
    old = {"model_name": "m", "model_version": "1", "earlier_labels": {}}
    table.commit(table.folder / "run-r0", "r0", {"figures": old})
    opened = PredictionTable(table.folder)
    (table.folder / "_windrow").mkdir()
    kept = {"of": [opened.version, "m", "1"], "labels": {}}
    (table.folder / "_windrow" / "earlier.json").write_text(json.dumps(kept))
    assert earlier.labels(opened, ("m", "1")) == {"2": 1}
