"""The table: one commit a run, files that did not commit are nobody's, and other readers agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from windrow.errors import ServiceError, UserError
from windrow.scoring import feed, prediction, report, table
from windrow.scoring.prediction import Stamp
from windrow.scoring.table import PredictionTable
from windrow.scoring.urls import Target, understand


def opened(folder: Path) -> Any:
    from deltalake import DeltaTable

    return DeltaTable(str(folder))


def some_targets(*names: str) -> list[Target]:
    return [target for name in names if (target := understand(f"http://example.com/{name}".encode()))]


def write_rows(folder: Path, *names: str) -> None:
    """What Spark would have written for these URLs: one file."""
    folder.mkdir(exist_ok=True)
    stamp = Stamp("run", "model", "1", "digest")
    rows = []
    for target in some_targets(*names):
        row = prediction.row(target, None, None, stamp) | {"status": "ok", "fetch_ms": 10.0}
        rows.append(row | prediction.ranked([2, 0], [0.75, 0.25], ("a", "b", "c")))
    batch = prediction.record_batch(rows)
    with pq.ParquetWriter(folder / f"part-{names[0] if names else 'none'}.parquet", prediction.SCHEMA) as writer:
        writer.write_batch(batch)


def add(folder: Path, run_id: str, *names: str) -> int:
    predictions = PredictionTable(folder)
    with predictions.staged(run_id) as staging:
        write_rows(staging, *names)
        return predictions.commit(staging, run_id, {"modelVersion": "1"})


def urls_in(folder: Path) -> list[str]:
    return sorted(opened(folder).to_pyarrow_table(columns=["url"])["url"].to_pylist())


def test_the_first_run_makes_an_empty_table_and_a_commit_fills_it(tmp_path: Path) -> None:
    assert PredictionTable(tmp_path / "t").version == 0
    assert add(tmp_path / "t", "r1", "a", "b") == 1
    assert add(tmp_path / "t", "r2", "c") == 2
    assert urls_in(tmp_path / "t") == ["http://example.com/a", "http://example.com/b", "http://example.com/c"]


def test_a_commit_says_which_run_and_model_made_it(tmp_path: Path) -> None:
    add(tmp_path / "t", "r1", "a")
    last = opened(tmp_path / "t").history(1)[0]
    assert (last["runId"], last["modelVersion"]) == ("r1", "1")


def test_pandas_reads_every_column_with_its_type(tmp_path: Path) -> None:
    add(tmp_path / "t", "r1", "a")
    frame = opened(tmp_path / "t").to_pandas()
    assert list(frame.columns) == prediction.SCHEMA.names
    assert str(frame["scored_at"].dtype) == "datetime64[us, UTC]"
    assert frame["top_k"][0][0] == {"rank": 1, "label_id": 2, "label": "c", "score": 0.75}


def fail_after(predictions: PredictionTable, run_id: str, commit: bool) -> None:
    with predictions.staged(run_id) as staging:
        write_rows(staging, "a")
        if commit:
            predictions.commit(staging, run_id, {})
        raise ZeroDivisionError


def test_a_run_that_fails_leaves_no_file_and_no_row(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_after(PredictionTable(tmp_path / "t"), "r1", commit=False)
    assert urls_in(tmp_path / "t") == []
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["_delta_log"]


def test_a_run_that_was_killed_is_invisible_to_readers(tmp_path: Path) -> None:
    add(tmp_path / "t", "r1", "a")
    write_rows(tmp_path / "t" / "run-killed", "b")
    assert urls_in(tmp_path / "t") == ["http://example.com/a"]
    assert add(tmp_path / "t", "r2", "b") == 2
    assert urls_in(tmp_path / "t") == ["http://example.com/a", "http://example.com/b"]


def test_files_that_were_committed_survive_what_fails_afterwards(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_after(PredictionTable(tmp_path / "t"), "r1", commit=True)
    assert urls_in(tmp_path / "t") == ["http://example.com/a"]


def test_a_replayed_commit_is_not_made_twice(tmp_path: Path) -> None:
    predictions = PredictionTable(tmp_path / "t")
    with predictions.staged("r1") as staging:
        write_rows(staging, "a")
        assert predictions.commit(staging, "r1", {}) == 1
        assert predictions.commit(staging, "r1", {}) == 1
    assert urls_in(tmp_path / "t") == ["http://example.com/a"]


def test_of_two_runs_at_once_the_second_is_refused(tmp_path: Path) -> None:
    second = PredictionTable(tmp_path / "t")
    add(tmp_path / "t", "r1", "a")
    with pytest.raises(ServiceError, match="one scoring run at a time"):
        fail_after(second, "r2", commit=True)
    assert urls_in(tmp_path / "t") == ["http://example.com/a"]
    assert not (tmp_path / "t" / "run-r2").exists()


def test_the_log_itself_refuses_the_second_of_two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same when both look before either commits: the check before the commit then sees nothing."""
    second = PredictionTable(tmp_path / "t")
    stale = opened(tmp_path / "t")
    add(tmp_path / "t", "r1", "a")
    write_rows(tmp_path / "t" / "run-r2", "a")
    monkeypatch.setattr(table, "_open", lambda _: stale)
    with pytest.raises(ServiceError, match="one scoring run at a time"):
        second.commit(tmp_path / "t" / "run-r2", "r2", {})
    assert urls_in(tmp_path / "t") == ["http://example.com/a"]


def test_files_without_rows_are_not_committed(tmp_path: Path) -> None:
    predictions = PredictionTable(tmp_path / "t")
    with predictions.staged("r1") as staging:
        write_rows(staging)
        write_rows(staging, "a")
        predictions.commit(staging, "r1", {})
    assert len(PredictionTable(tmp_path / "t").files()) == 1


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    from deltalake import DeltaTable

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    (tmp_path / "file").touch()
    DeltaTable.create(str(tmp_path / "other"), pa.schema([("x", pa.string())]))
    for name in ("full", "file", "file/below", "other"):
        with pytest.raises(UserError, match="choose another --table"):
            PredictionTable(tmp_path / name)


def test_figures_come_from_the_files(tmp_path: Path) -> None:
    write_rows(tmp_path / "run", "a", "b")
    write_rows(tmp_path / "run", "c")
    figures = report.measure(table.parts(tmp_path / "run"), seconds=1.5)
    assert figures == {
        "rows": 3,
        "keys": 3,
        "statuses": {"ok": 3},
        "images_per_second": 2.0,
        "mean_fetch_ms": 10.0,
        "mean_decode_ms": None,
        "mean_predict_ms": None,
    }


@pytest.mark.spark
def test_spark_writes_what_readers_read_and_known_urls_are_left_out(spark: Any, tmp_path: Path) -> None:
    folder = tmp_path / "a {b} [c]"
    (tmp_path / "feed.txt").write_text("http://example.com/a\nhttp://example.com/b\nHTTP://example.com:80/c\n")
    add(folder, "r1", "c", "x")
    predictions = PredictionTable(folder)
    new, fresh, known = predictions.unknown(feed.read(spark, [tmp_path / "feed.txt"]))
    assert (fresh, known) == (2, 1)
    assert sorted(row.url for row in new.collect()) == ["http://example.com/a", "http://example.com/b"]
    with predictions.staged("r2") as staging:
        table.write(_as_predictions(spark, some_targets("a", "b")), staging)
        predictions.commit(staging, "r2", {})
    assert [name[-1] for name in urls_in(folder)] == ["a", "b", "c", "x"]
    paths = [feed.spark_path(path) for path in PredictionTable(folder).files()]
    read = spark.read.parquet(*paths)
    assert read.count() == 4
    assert [name for name, _ in read.dtypes] == prediction.SCHEMA.names
    assert dict(read.dtypes)["scored_at"] == "timestamp"
    assert opened(folder).to_pandas()["scored_at"].notna().all()
    assert PredictionTable(folder).unknown(feed.read(spark, [tmp_path / "feed.txt"]))[1:] == (0, 3)


def _as_predictions(spark: Any, targets: list[Target]) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    stamp = Stamp("run", "model", "1", "digest")
    rows = [prediction.row(target, None, None, stamp) | {"status": "ok"} for target in targets]
    values = prediction.record_batch(rows).to_pylist()
    schema = from_arrow_schema(prediction.SCHEMA)
    return spark.createDataFrame([tuple(row[name] for name in prediction.SCHEMA.names) for row in values], schema)
