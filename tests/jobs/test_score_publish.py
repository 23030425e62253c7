"""score_images.py with a copy of its table in an object store, which is away, belongs to others, or comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from s3fs import S3FileSystem
from windrow import experiment
from windrow.errors import PublishError, TrackingError
from windrow.scoring.table.predictions_table import PredictionTable

from .conftest import PAGE, SCORING, Images, rows_of, scorings, write_feed

Run = Callable[..., Any]


def page_with(tmp_path: Path, url: str) -> Path:
    path = tmp_path / "brightness.yaml"
    path.write_text(PAGE + SCORING.replace("top_k: 2", f"top_k: 2, publish: {url}"))
    return path


def rows_at(url: str) -> dict[str, str]:
    """URL → status as a reader of the copy sees it."""
    from deltalake import DeltaTable

    frame = DeltaTable(url, storage_options={"allow_http": "true"}).to_pandas()
    rows: dict[str, str] = frame.set_index("url", verify_integrity=True)["status"].to_dict()
    return rows


@pytest.mark.spark
@pytest.mark.tensorflow
@pytest.mark.mlflow
@pytest.mark.usefixtures("champion")
def test_a_copy_that_could_not_be_made_is_made_by_the_next_run_even_if_that_finds_nothing_new(
    run_job: Run, bucket: str, images: Images, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    url, home = f"{bucket}/tables/brightness", tmp_path / "home"
    page, table = page_with(tmp_path, url), home / "tables" / "brightness"
    feed = [f"{images.address}/20.png", f"{images.address}/absent.png"]
    rows = {feed[0]: "ok", feed[1]: "http_error"}

    write_feed(home, "one.txt", *feed)
    away = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    first = run_job("score_images", "--experiment", page, environment=away)
    assert first.code == 1, first.output
    assert "not published; the next run publishes them: the store of s3://" in first.error
    assert rows_of(table) == rows
    assert [run.info.status for run in scorings()] == ["FINISHED"]

    S3FileSystem.clear_instance_cache()  # they remember the address; another night is another process
    second = run_job("score_images", "--experiment", page)
    assert second.code == 0, second.output
    assert (second.result["rows"], second.result["published"]) == (0, url)
    assert second.result["published_version"] == second.result["table_version"] == 1
    assert rows_at(url) == rows

    write_feed(home, "one.txt", *feed, "ftp://127.0.0.1/1")
    rows["ftp://127.0.0.1/1"] = "refused_scheme"
    third = run_job("score_images", "--experiment", page)
    assert (third.code, third.result["rows"], third.result["uploaded"]) == (0, 1, 2), third.output
    assert rows_at(url) == rows_of(table) == rows

    upkeep = run_job("score_images", "--experiment", page, "--maintain")
    assert (upkeep.code, upkeep.result["merged"]) == (0, 2), upkeep.output
    assert upkeep.result["published_version"] == upkeep.result["table_version"]
    assert rows_at(url) == rows_of(table) == rows

    images.requests.clear()
    write_feed(home, "one.txt", f"{images.address}/30.png")
    other = ("--table", tmp_path / "other")
    refused = run_job("score_images", "--experiment", page, *other)
    assert refused.code == 2, refused.output
    assert f"scoring.publish must be empty or a copy of this table; got {url}" in refused.output
    assert not images.paths
    assert rows_at(url) == rows


def with_figures(folder: Path) -> PredictionTable:
    """A table that has something to tell MLflow."""
    predictions = PredictionTable(folder)
    figures = {"rows": 0, "statuses": {}, "model_name": "brightness", "model_version": "1"}
    predictions.commit(folder / "run-r1", "r1", {"figures": figures})
    return PredictionTable(folder)


@pytest.mark.mlflow
def test_where_mlflow_or_the_store_is_away_the_other_one_is_told_all_the_same(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    from windrow.scoring import reporting
    from windrow.scoring.report.result import ScoringResult
    from windrow.tracking.on_first_use import MLflow

    url = f"{bucket}/t"
    page = experiment.load(page_with(tmp_path, url))
    assert page.scoring
    table = with_figures(tmp_path / "t")
    scoring = page.scoring
    nothing = ScoringResult(str(table.folder), table.version, 0, "brightness", run_id="r1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TrackingError, match="the next run logs them"):
        reporting.report(page, scoring, nothing, MLflow())
    assert rows_at(url) == {}

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    S3FileSystem.clear_instance_cache()
    with pytest.raises(PublishError, match=r"the next run publishes them: .*; .* the next run logs them"):
        reporting.report(page, scoring, nothing, MLflow())
