"""A run's figures, from the files that it wrote."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from harness.predictions import PATIENCE, row_of
from windrow.model.precision_loss import PrecisionLoss
from windrow.scoring.feed.feed_reports import FeedFault
from windrow.scoring.fetch.urls import Target
from windrow.scoring.report.feed_figures import FeedFigures
from windrow.scoring.report.figures import (
    STAGES,
    Agreement,
    Drift,
    Figures,
    HostFailures,
    Milliseconds,
    Truth,
    UrlCounts,
)
from windrow.scoring.report.measurement import NAMED_LABELS, measure
from windrow.scoring.report.pace import BusiestHost
from windrow.scoring.table import prediction
from windrow.scoring.table.prediction import Prediction
from windrow.tracking import scoring_runs


def row(url: str, status: str = "ok", label: str = "a", score: float = 0.5, **columns: Any) -> Prediction:
    """A row as a task makes it: labelled unless a status is given."""
    labels = {"label_id": 0, "label": label, "score": score, "top_k": ()} if status == "ok" else {}
    return row_of(url, status, **labels, **columns)


def write(path: Path, *rows: Prediction) -> Path:
    batch = prediction.record_batch(list(rows), PATIENCE)
    with pq.ParquetWriter(path, prediction.SCHEMA) as writer:
        writer.write_batch(batch)
    return path


EVERY = Figures(
    rows=9,
    statuses={"ok": 8, "timeout": 1},
    ok_share=0.8889,
    images_per_second=2.0,
    urls_per_second=2.5,
    times={stage: Milliseconds(1.0, 2.0, 3.0) for stage in STAGES},
    slots=2,
    ceiling_images_per_second=4.0,
    share_of_ceiling=0.5,
    scores=(0, 0, 0, 0, 0, 1, 0, 0, 0, 7),
    labels={"a": 7},
    other_labels=1,
    hosts=(HostFailures("a.example", 1, 9, "timeout"),),
    agreement=Agreement(8, 0.75),
    counts=UrlCounts(1, 12, 9, 2, 1, 3, 4, records=20, copies=5, without_url=3),
    model_name="digits",
    model_version="1",
    precision=PrecisionLoss("int8", "OpenVINO", 32, 0.98, 0.01, 0.1, 0.9, 0.89),
    drift=Drift(0.1, 0.2, 3, 900, ("a", 0.4, 0.5), "moved"),
    drift_accepted=True,
    first_tries={"ok": 7},
    held_back_by="scoring.host_rate",
    other_versions={"3": 5},
    truth=Truth("class", 8, 6, 0.4, 0.9, 0.5, 0.7, 1, ("horse",)),
    feed="feeds/*.txt",
    started_at=1000.0,
    ended_at=1090.5,
    feed_faults=FeedFigures(1, (FeedFault("a.csv", 3, "torn"),), (FeedFault("b.csv", None, "empty"),), ()),
)
"""With a value in every field."""


def test_every_figure_comes_back_from_json_and_every_metric_is_one() -> None:
    empty = Figures()
    assert [each.name for each in fields(Figures) if getattr(EVERY, each.name) == getattr(empty, each.name)] == []
    values = json.loads(json.dumps(EVERY.to_json()))
    assert Figures.from_json(values) == EVERY
    assert sorted(set(scoring_runs._METRICS) - set(values)) == []


def test_counts_rates_and_milliseconds_are_those_of_the_files(tmp_path: Path) -> None:
    times = [5.0, 1.0, 9.0, 200.0]
    first = [row(f"http://a.example/{place}", fetch_ms=time) for place, time in enumerate(times)]
    second = [row("http://b.example/x", status="timeout", fetch_ms=5000.0), row("no url", status="invalid_url")]
    files = [write(tmp_path / "part-1.parquet", *first), write(tmp_path / "part-2.parquet", *second)]
    measured = measure(files, seconds=2.0, slots=2)
    found = measured.figures
    assert found.statuses == {"ok": 4, "invalid_url": 1, "timeout": 1}
    assert (found.rows, measured.distinct_urls, found.ok_share) == (6, 6, 0.6667)
    assert (found.images_per_second, found.urls_per_second) == (2.0, 3.0)
    assert found.times["fetch"].p50 == np.quantile([*times, 5000.0], 0.5)
    assert found.times["fetch"].p95 == pytest.approx(np.quantile([*times, 5000.0], 0.95))
    assert (found.times["decode"].mean, found.times["predict"].p95, found.share_of_ceiling) == (None, None, None)


def test_urls_that_were_tried_before_are_no_first_tries_and_the_busiest_host_has_its_seconds(tmp_path: Path) -> None:
    rows = [row(f"http://b.example/{place}", fetch_ms=500.0) for place in range(3)]
    again = row_of(Target("http://a.example/x", "k", "http://a.example/x", attempt=2), "timeout", fetch_ms=9000.0)
    measured = measure([write(tmp_path / "part-1.parquet", *rows, again)], seconds=2.0, slots=2)
    assert (measured.figures.statuses, measured.figures.first_tries) == ({"ok": 3, "timeout": 1}, {"ok": 3})
    assert (measured.busiest, measured.seconds) == (BusiestHost(3, 1.5), 2.0)


def test_the_ceiling_is_what_the_cores_could_do_by_this_runs_own_times(tmp_path: Path) -> None:
    rows = [row(f"http://a.example/{place}", decode_ms=3.0, predict_ms=7.0) for place in range(50)]
    broken = row("http://a.example/broken", status="broken_image", decode_ms=900.0)
    found = measure([write(tmp_path / "part-1.parquet", *rows, broken)], seconds=1.0, slots=2).figures
    assert found.ceiling_images_per_second == 200.0  # 2 cores, 10 ms per image
    assert found.share_of_ceiling == 0.25


def test_images_that_were_not_computed_again_do_not_lift_the_share_of_the_ceiling(tmp_path: Path) -> None:
    rows = [row(f"http://a.example/{place}", decode_ms=3.0, predict_ms=7.0) for place in range(50)]
    duplicates = [row(f"http://a.example/copy-{place}") for place in range(500)]
    found = measure([write(tmp_path / "part-1.parquet", *rows, *duplicates)], seconds=1.0, slots=2).figures
    assert found.images_per_second == 550
    assert (found.ceiling_images_per_second, found.share_of_ceiling) == (200.0, 0.25)


def test_every_score_is_in_one_of_ten_bins(tmp_path: Path) -> None:
    scores = [0.0, 0.05, 0.1, 0.55, 0.999, 1.0, 1.0000001]
    rows = [row(f"http://a.example/{place}", score=score) for place, score in enumerate(scores)]
    found = measure([write(tmp_path / "part-1.parquet", *rows)], 1.0, 1).figures
    assert found.scores == (2, 1, 0, 0, 0, 1, 0, 0, 0, 3)


def test_few_labels_are_named_and_the_others_counted(tmp_path: Path) -> None:
    names = ["often"] * 3 + [f"l{place:03d}" for place in range(70)] + ["x" * 500]
    rows = [row(f"http://a.example/{place}", label=name) for place, name in enumerate(names)]
    files = [write(tmp_path / "part-1.parquet", *rows[:40]), write(tmp_path / "part-2.parquet", *rows[40:])]
    found = measure(files, 1.0, 1).figures
    assert next(iter(found.labels.items())) == ("often", 3)
    assert len(found.labels) == NAMED_LABELS
    assert sum(found.labels.values()) + found.other_labels == len(names)


def test_labels_that_begin_alike_are_counted_apart_however_long_they_are(tmp_path: Path) -> None:
    names = ["x" * 200 + "a", "x" * 200 + "b", "x" * 80, "x" * 200 + "b"]
    rows = [row(f"http://a.example/{place}", label=name) for place, name in enumerate(names)]
    found = measure([write(tmp_path / "part-1.parquet", *rows)], 1.0, 1).figures
    assert sorted(found.labels.values()) == [1, 1, 2]
    assert max(map(len, found.labels)) == 80


def test_hosts_that_fail_are_named_with_how_and_how_often(tmp_path: Path) -> None:
    rows = [row(f"http://good.example/{place}") for place in range(5)]
    rows += [row(f"http://bad.example:8080/{place}", status="timeout") for place in range(3)]
    rows += [
        row("http://bad.example/x"),
        row("https://[::1]:9/a", status="refused_address"),
        row("?", status="invalid_url"),
    ]
    found = measure([write(tmp_path / "part-1.parquet", *rows)], 1.0, 1).figures
    assert found.hosts == (
        HostFailures("bad.example", failed=3, asked=4, status="timeout"),
        HostFailures("[::1]", failed=1, asked=1, status="refused_address"),
    )


def test_the_figures_of_a_large_run_of_hostile_names_are_small(tmp_path: Path) -> None:
    rows = [
        row(f"http://{'h' * 60}.{place}.{'i' * 60}.example/", label=f"{'l' * 400}{place}", fetch_ms=1 / 3)
        for place in range(200)
    ]
    rows += [row(f"http://{'j' * 60}.{place}.{'k' * 60}.example/", status="http_error") for place in range(200)]
    found = measure([write(tmp_path / "part-1.parquet", *rows)], 1.0, 1).figures
    assert len(json.dumps(found.to_json())) < 8000


def test_a_run_that_labelled_nothing_has_figures_too(tmp_path: Path) -> None:
    found = measure([write(tmp_path / "part-1.parquet", row("?", status="invalid_url"))], 0.5, 2).figures
    assert (found.images_per_second, found.scores, found.labels, found.hosts) == (0.0, (0,) * 10, {}, ())


def test_a_run_without_rows_has_figures_too(tmp_path: Path) -> None:
    found = measure([write(tmp_path / "part-1.parquet")], 0.5, 2)
    assert (found.figures.rows, found.figures.ok_share, found.distinct_urls, found.failures) == (0, None, 0, ())


EXAMPLES = json.loads((Path(__file__).parent / "examples" / "figures-2026-11-27.json").read_text())
"""Figures of two commits as Windrow wrote them on that day, when they were a dictionary."""


@pytest.mark.parametrize("example", EXAMPLES)
def test_figures_that_were_written_as_a_dictionary_are_read_and_written_key_by_key(example: dict[str, Any]) -> None:
    found = Figures.from_json(example).to_json()
    assert found.pop("reopened") == 0  # came later
    assert list(found.items()) == list(example.items())


def test_what_was_written_is_found_in_the_record() -> None:
    first, second = map(Figures.from_json, EXAMPLES)
    assert (first.ok, first.counts.new, first.times["predict"].mean) == (240, 240, 2.5)
    assert first.drift is not None
    assert (first.drift.labels, first.agreement, first.precision, first.drift_accepted) == (None, None, None, False)
    assert second.drift is not None
    assert second.drift.moved == ("one", 0.6667, 0.0)
    assert second.agreement == Agreement(6, 0.5)
    assert second.precision is not None
    assert (second.precision.type, second.precision.accuracy, second.drift_accepted) == ("int8", None, True)


def test_a_commit_of_before_there_were_histograms_and_one_of_a_later_version_are_read() -> None:
    old = {"rows": 3, "statuses": {"ok": 2, "timeout": 1}, "images_per_second": 1.5, "new": 3, "model_name": "m"}
    found = Figures.from_json(old | {"of_a_later_version": 1})
    assert (found.rows, found.ok, found.counts.new, found.counts.urls) == (3, 2, 3, 0)
    assert (found.scores, found.labels, found.hosts, found.drift, found.times["fetch"].p95) == ((), {}, (), None, None)
    assert Figures.from_json(found.to_json()) == found
