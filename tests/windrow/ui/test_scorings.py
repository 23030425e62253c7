"""Scoring runs and newest labels, of real tables: what is read is bounded, and nothing of a secret gets out."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness.predictions import PATIENCE, labelled_row, row_of
from windrow.errors import AbsentError
from windrow.scoring.feed.feed_reports import FeedFault
from windrow.scoring.fetch.urls import understand
from windrow.scoring.report import album, drift, gallery
from windrow.scoring.report.album import Chosen, Picture
from windrow.scoring.report.feed_figures import FeedFigures
from windrow.scoring.report.figures import Figures, Truth, UrlCounts
from windrow.scoring.report.measurement import measure
from windrow.scoring.table import prediction, withheld
from windrow.scoring.table.prediction import Stamp
from windrow.scoring.table.predictions_table import PredictionTable, parts
from windrow.scoring.table.withheld import WithheldRun
from windrow.ui import scorings
from windrow.ui.scoring_figures import scoring_run

DAG = "score_digits"
HOSTILE = '"><script>alert(1)</script>'
LABELS = (HOSTILE, "seven")


def write(folder: Path, names: Sequence[str], at: datetime, name: str = "part-0.parquet", group: int = 1000) -> Path:
    """The Parquet file that Spark would have written for these URLs; every third one has no label."""
    rows = []
    for place, url in enumerate(names):
        target = understand(f"http://user.example/{url}?token=geheim#top".encode())
        assert target
        stamp = Stamp("run", "digits", "3", "digest")
        if place % 3 == 2:
            rows.append(row_of(target, "http_error", stamp, http_status=404))
        else:
            rows.append(labelled_row(target, [0, 1], [0.75, 0.25], LABELS, stamp))
    batch = prediction.record_batch(rows, PATIENCE)
    times = [at + timedelta(milliseconds=place) for place in range(len(names))]
    field = batch.schema.field("scored_at")
    batch = batch.set_column(batch.schema.get_field_index(field.name), field, pa.array(times, field.type))
    folder.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(folder / name, prediction.SCHEMA) as writer:
        writer.write_batch(batch, row_group_size=group)
    return folder


def told(files: Sequence[Path]) -> dict[str, Any]:
    """A run's figures as score_images commits them."""
    found = measure(files, 2.0, 2).figures
    found = replace(found, counts=UrlCounts(new=found.rows), model_name="digits", model_version="3")
    return replace(found, drift=drift.compare(found, [])).to_json()


def picture(label: str = HOSTILE, **more: Any) -> Picture:
    image, width, height = album.thumbnail(np.zeros((8, 8, 1), np.uint8))
    url = "https://me:geheim@user.example:8080/a.png?token=geheim"
    values = {"url": url, "url_key": "k", "label": label, "score": 0.5, "second": "one", "second_score": 0.2}
    return Picture(**{**values, "width": width, "height": height, "image": image, **more})


def keep(table: Path, run_id: str, *pictures: Picture) -> None:
    """The pictures of a run where its gallery is; gallery.write is tested with a real album."""
    path = gallery.place(table, run_id).with_name("pictures.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(asdict(Chosen(unsure=list(pictures)))))


def score(table: Path, run_id: str, names: Sequence[str], at: datetime | None = None) -> None:
    """A scoring of these URLs, committed as the job commits it."""
    predictions = PredictionTable(table)
    with predictions.staged(run_id) as rows:
        write(rows, names, at or datetime.now(UTC))
        said = told(parts(rows))
        predictions.commit(rows, run_id, {"modelName": "digits", "modelVersion": "3", "figures": said})


def test_a_run_says_what_its_commit_says(tmp_path: Path) -> None:
    score(tmp_path / "t", "r1", [f"{n}.png" for n in range(9)])
    (run,) = scorings.scoring_runs(tmp_path / "t", DAG)["nights"]
    assert (run["rows"], run["statuses"], run["model_version"]) == (9, {"ok": 6, "http_error": 3}, "3")
    assert abs(run["at"] - time.time()) < 60
    assert run["labels"] is None


def test_a_run_whose_feed_has_true_classes_has_its_accuracy_and_not_their_names() -> None:
    truth = Truth(HOSTILE, 200, 174, 0.8161, 0.9099, 0.35, 0.8612, 3, (HOSTILE,))
    shown = scoring_run(Figures(rows=200, truth=truth), 0.0)
    assert shown["truth"] == {"accuracy": 0.87, "low": 0.8161, "high": 0.9099, "baseline": 0.35, "images": 200}
    assert scoring_run(Figures(rows=200, truth=Truth("class")), 0.0)["truth"] is None


def test_the_newest_run_comes_first_and_upkeep_is_no_run(tmp_path: Path) -> None:
    for rows in (2, 3, 4):
        score(tmp_path / "t", f"r{rows}", [f"{rows}-{n}.png" for n in range(rows)])
    PredictionTable(tmp_path / "t").note("r9", {})
    assert [run["rows"] for run in scorings.scoring_runs(tmp_path / "t", DAG)["nights"]] == [4, 3, 2]


def test_a_withheld_run_is_shown_also_where_nothing_was_committed_yet(tmp_path: Path) -> None:
    table = tmp_path / "t"
    PredictionTable(table)
    rows = write(table / "run-r1", ["a.png", "b.png"], datetime.now(UTC))
    run = WithheldRun("r1", "work", told(list(rows.iterdir())), [], {}, time.time())
    withheld.keep(table, rows, run)
    found = scorings.scoring_runs(table, DAG)
    assert found["nights"] == []
    assert found["withheld"]["rows"] == 2


def test_the_newest_rows_come_first_whatever_file_they_lie_in(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    for place, (run, age) in enumerate((("r1", 1), ("r2", 3), ("r3", 2))):
        score(tmp_path / "t", run, [f"{place}-{n}.png" for n in range(10)], now - timedelta(hours=age))
    rows = scorings.labels(tmp_path / "t", DAG)["rows"]
    assert [row["address"].rsplit("/", 1)[1][0] for row in rows] == ["0"] * 10 + ["2"] * 10 + ["1"] * 4
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)


def test_of_a_large_file_only_the_newest_row_groups_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "t"
    predictions = PredictionTable(table)
    names = [f"{n}.png" for n in range(5000)]
    with predictions.staged("r1") as rows:
        write(rows, names, datetime.now(UTC), group=500)
        predictions.commit(rows, "r1", {"figures": told(parts(rows))})
    monkeypatch.setattr(scorings, "_ROWS_READ", 500)
    found = scorings.labels(table, DAG)["rows"]
    assert [row["address"] for row in found] == [f"http://user.example/{n}.png" for n in range(4999, 4975, -1)]


def test_pictures_are_those_of_the_newest_committed_scoring(tmp_path: Path) -> None:
    table = tmp_path / "t"
    for run in ("r1", "r2"):
        score(table, run, [f"{run}.png"])
        keep(table, run, picture(run))
    keep(table, "r3", picture("not committed yet"))
    assert [one["label"] for one in scorings.labels(table, DAG)["pictures"]] == ["r2"]


def test_only_thumbnails_that_were_made_here_are_shown(tmp_path: Path) -> None:
    table = tmp_path / "t"
    score(table, "r1", ["a.png"])
    others = ("http://user.example/spy.png", "data:image/svg+xml;base64,PHN2Zz4=", 'data:image/png;base64,AA"onload=')
    keep(table, "r1", picture("good"), *(picture(image=image) for image in others))
    assert [one["label"] for one in scorings.labels(table, DAG)["pictures"]] == ["good"]


def test_a_table_without_kept_pictures_still_shows_its_rows(tmp_path: Path) -> None:
    score(tmp_path / "t", "r1", ["a.png"])
    found = scorings.labels(tmp_path / "t", DAG)
    assert (found["pictures"], len(found["rows"])) == ([], 1)


def test_no_secret_of_an_address_and_no_path_of_the_disk_is_told(tmp_path: Path) -> None:
    table = tmp_path / "t"
    score(table, "r1", ["a.png", "b.png", "c.png"])
    keep(table, "r1", picture())
    text = json.dumps([scorings.labels(table, DAG), scorings.scoring_runs(table, DAG)])
    assert "geheim" not in text
    assert str(tmp_path) not in text
    assert "http://user.example/a.png" in text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:word@a.example/x?y=1#z", "https://a.example/x"),
        ("http://a.example:99999/x", "an address that is no URL"),
        ("javascript:alert(1)", "an address that is no URL"),
        ("", "an address that is no URL"),
        ("http://[::1", "an address that is no URL"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert scorings.address(url) == shown


def test_before_the_first_scoring_it_is_said_what_to_trigger_and_what_that_needs(tmp_path: Path) -> None:
    PredictionTable(tmp_path / "empty")
    for table in (tmp_path / "none", tmp_path / "empty"):
        for read in (scorings.scoring_runs, scorings.labels):
            with pytest.raises(AbsentError, match=r"Once there is a champion, or .* trigger score_digits"):
                read(table, DAG)
    assert not (tmp_path / "none").exists()


def test_a_damaged_log_is_one_sentence_without_its_path(tmp_path: Path) -> None:
    score(tmp_path / "t", "r1", ["a.png"])
    shutil.rmtree(tmp_path / "t" / "_delta_log")
    (tmp_path / "t" / "_delta_log").mkdir()
    (tmp_path / "t" / "_delta_log" / f"{0:020}.json").write_text("{")
    with pytest.raises(AbsentError, match="can't be read") as caught:
        scorings.scoring_runs(tmp_path / "t", DAG)
    assert str(tmp_path) not in str(caught.value)


def test_the_stamp_changes_with_a_commit_and_not_by_looking(tmp_path: Path) -> None:
    table = tmp_path / "t"
    score(table, "r1", ["a.png"])
    before = scorings.stamp(table)
    scorings.labels(table, DAG)
    assert scorings.stamp(table) == before
    score(table, "r2", ["b.png"])
    assert scorings.stamp(table) != before


def test_a_run_shows_what_it_read_of_its_feed_and_no_folder_and_no_value_of_it() -> None:
    reason = "a CSV must name a column once; got 'geheim' twice; rename one"
    faults = FeedFigures(1, (FeedFault("/srv/geheim/a.csv", 1, reason),), (FeedFault("/srv/b.jsonl", 7, "no url"),), ())
    counts = UrlCounts(new=3, already_scored=4, copies=2, without_url=1, records=10)
    shown = scoring_run(replace(Figures(), counts=counts, feed_faults=faults), 0.0)
    assert shown["feed"] == {
        **{"records": 10, "known": 4, "copies": 2, "without_url": 1, "files_refused": 1},
        "refused": [
            {"file": "a.csv", "line": 1, "reason": "a CSV must name a column once; rename one"},
            {"file": "b.jsonl", "line": 7, "reason": "no url"},
        ],
    }
    assert "geheim" not in json.dumps(shown)
