"""score_images.py with a copy of its table in an object store, which is away, belongs to others, or comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from windrow import experiment
from windrow.errors import PublishError, TrackingError
from windrow.scoring.table import PredictionTable

from .conftest import PAGE, SCORING, Images, write_feed
from .test_score_faults import killed_at, rows_of, scorings

Submit = Callable[..., Any]


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
@pytest.mark.timeout(2400)  # six spark-submits
@pytest.mark.usefixtures("champion")
def test_a_copy_that_could_not_be_made_is_made_by_the_next_run_even_if_that_finds_nothing_new(
    submit: Submit, bucket: str, images: str, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    url, home = f"{bucket}/tables/brightness", tmp_path / "home"
    page, table = page_with(tmp_path, url), home / "tables" / "brightness"
    feed = [f"{images}/20.png", f"{images}/absent.png"]
    rows = {feed[0]: "ok", feed[1]: "http_error"}

    write_feed(home, "one.txt", *feed)
    away = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    first = submit("score_images", "--experiment", page, environment=away)
    assert first.code == 1, first.output
    assert "not published; the next run publishes them: the store of s3://" in first.output.strip().splitlines()[-1]
    assert rows_of(table) == rows
    assert [run.info.status for run in scorings()] == ["FINISHED"]

    second = submit("score_images", "--experiment", page)
    assert second.code == 0, second.output
    assert (second.result["rows"], second.result["published"]) == (0, url)
    assert second.result["published_version"] == second.result["table_version"] == 1
    assert rows_at(url) == rows

    write_feed(home, "one.txt", *feed, "ftp://127.0.0.1/1")
    killed_at("after windrow.scoring.store.Store.put", page, tmp_path)
    assert rows_at(url) == rows
    rows["ftp://127.0.0.1/1"] = "refused_scheme"
    assert rows_of(table) == rows
    third = submit("score_images", "--experiment", page)
    assert (third.code, third.result["rows"], third.result["uploaded"]) == (0, 0, 1), third.output
    assert rows_at(url) == rows

    upkeep = submit("score_images", "--experiment", page, "--maintain")
    assert (upkeep.code, upkeep.result["merged"]) == (0, 2), upkeep.output
    assert upkeep.result["published_version"] == upkeep.result["table_version"]
    assert rows_at(url) == rows_of(table) == rows

    Images.asked.clear()
    write_feed(home, "one.txt", f"{images}/30.png")
    other = ("--table", tmp_path / "other")
    refused = submit("score_images", "--experiment", page, *other)
    assert refused.code == 2, refused.output
    assert f"scoring.publish must be empty or a copy of this table; got {url}" in refused.output
    assert not Images.asked
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
    from s3fs import S3FileSystem
    from score_images import tell

    url = f"{bucket}/t"
    page = experiment.load(page_with(tmp_path, url))
    assert page.scoring
    table = with_figures(tmp_path / "t")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TrackingError, match="the next run records them"):
        tell(page, page.scoring, table, "r1")
    assert rows_at(url) == {}

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    S3FileSystem.clear_instance_cache()
    with pytest.raises(PublishError, match=r"the next run publishes them: .*; .* the next run records them"):
        tell(page, page.scoring, table, "r1")
