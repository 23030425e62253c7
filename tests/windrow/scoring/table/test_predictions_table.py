"""The table: one commit a run, files that did not commit are nobody's, and other readers agree."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness.predictions import PATIENCE, STAMP, labelled_row, row_of
from windrow.errors import ServiceError, UserError
from windrow.scoring import work
from windrow.scoring.feed import feed_marks, known_keys, new_urls
from windrow.scoring.fetch.fetcher import Fetched
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target, understand
from windrow.scoring.table import pending, prediction, predictions_table, upkeep
from windrow.scoring.table.deciding import NO_KEYS, DecidingKeys
from windrow.scoring.table.lock import held
from windrow.scoring.table.log_entries import Statistics
from windrow.scoring.table.pending import DueRule
from windrow.scoring.table.prediction import Patience, Prediction, Stamp
from windrow.scoring.table.predictions_table import PredictionTable


def opened(folder: Path) -> Any:
    from deltalake import DeltaTable

    return DeltaTable(str(folder))


def some_targets(*names: str) -> list[Target]:
    return [target for name in names if (target := understand(f"http://example.com/{name}".encode()))]


def write_rows(folder: Path, *names: str) -> None:
    """What Spark would have written for these URLs: one file."""
    folder.mkdir(exist_ok=True)
    rows = [labelled_row(target, [2, 0], [0.75, 0.25], "abc", fetch_ms=10.0) for target in some_targets(*names)]
    batch = prediction.record_batch(rows, PATIENCE)
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
    monkeypatch.setattr(predictions_table, "_open", lambda _: stale)
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


def test_what_earlier_runs_said_of_themselves_comes_newest_first(tmp_path: Path) -> None:
    for number, said in enumerate(({"figures": {"rows": 1}}, {}, {"figures": {"rows": 3, "labels": {"a": [1, None]}}})):
        predictions = PredictionTable(tmp_path / "t")
        with predictions.staged(f"r{number}") as staging:
            write_rows(staging, "abc"[number])
            predictions.commit(staging, f"r{number}", said)
    assert list(PredictionTable(tmp_path / "t").past()) == [{"rows": 3, "labels": {"a": [1, None]}}, {"rows": 1}]


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    from deltalake import DeltaTable

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    (tmp_path / "file").touch()
    DeltaTable.create(str(tmp_path / "other"), pa.schema([("x", pa.string())]))
    for name in ("full", "file", "file/below", "other"):
        with pytest.raises(UserError, match="choose another --table"):
            PredictionTable(tmp_path / name)


@pytest.fixture(params=["the driver", "executors"])
def _reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads the feed's news."""
    if request.param == "executors":
        monkeypatch.setattr(new_urls, "_FEW_BYTES", -1)


@pytest.mark.spark
@pytest.mark.usefixtures("_reader")
def test_spark_writes_what_readers_read_and_known_urls_are_left_out(spark: Any, tmp_path: Path) -> None:
    folder = tmp_path / "a {b} [c]"
    (tmp_path / "feed.txt").write_text("http://example.com/a\nhttp://example.com/b\nHTTP://example.com:80/c\n")
    add(folder, "r1", "c", "x")
    predictions = PredictionTable(folder)
    found = work.find(
        spark, predictions, work.look(predictions, [tmp_path / "feed.txt"], rescore=False), None, tmp_path
    )
    assert (found.counts.new, found.counts.already_scored) == (2, 1)
    assert sorted(row.url for row in found.targets.collect()) == ["http://example.com/a", "http://example.com/b"]
    with predictions.staged("r2") as staging:
        predictions_table.write(_as_predictions(spark, some_targets("a", "b")), staging)
        predictions.commit(staging, "r2", {})
    assert [name[-1] for name in urls_in(folder)] == ["a", "b", "c", "x"]
    paths = [new_urls.spark_path(path) for path in PredictionTable(folder).files()]
    read = spark.read.parquet(*paths)
    assert read.count() == 4
    assert [name for name, _ in read.dtypes] == prediction.SCHEMA.names
    assert dict(read.dtypes)["scored_at"] == "timestamp"
    assert opened(folder).to_pandas()["scored_at"].notna().all()
    pieces, *_ = feed_marks.news([tmp_path / "feed.txt"], {})
    again = new_urls.read(spark, pieces, known_keys.read(PredictionTable(folder).files()), tmp_path)
    assert (again.new, again.known) == (0, 3)


@pytest.mark.spark
@pytest.mark.usefixtures("_reader")
def test_what_a_limited_run_leaves_is_found_by_the_next_one_in_the_same_file(spark: Any, tmp_path: Path) -> None:
    feed_file = tmp_path / "feed.txt"
    feed_file.write_text("".join(f"http://example.com/{name}\n" for name in "abc"))
    asked: list[tuple[list[str], int]] = []
    for number in range(3):
        predictions = PredictionTable(tmp_path / "t")
        search = work.look(predictions, [feed_file], rescore=False, limit=2)
        if not search:
            break
        assert search.at_most == 2
        found = work.find(spark, predictions, search, None, tmp_path)
        names = [row.url[-1] for row in found.targets.collect()]
        asked.append((names, found.counts.left))
        with predictions.staged(f"r{number}") as staging:
            predictions_table.write(_as_predictions(spark, some_targets(*names)), staging)
            predictions.commit(staging, f"r{number}", {}, marks=found.marks)
    assert [(len(names), left) for names, left in asked] == [(2, 1), (1, 0)]
    assert sorted(name for names, _ in asked for name in names) == ["a", "b", "c"]


def _as_predictions(spark: Any, targets: list[Target]) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    values = prediction.record_batch([row_of(target) for target in targets], PATIENCE).to_pylist()
    schema = from_arrow_schema(prediction.SCHEMA)
    return spark.createDataFrame([tuple(row[name] for name in prediction.SCHEMA.names) for row in values], schema)


def write_pending(folder: Path, version: str, **urls_due: float) -> None:
    """A file of rows that timed out, each due so many hours from now."""
    folder.mkdir(exist_ok=True, parents=True)
    stamp = Stamp("run", "model", version, "digest")
    rows = [row_of(target, "timeout", stamp) for target in some_targets(*urls_due)]
    batch = prediction.record_batch(rows, PATIENCE)
    times = [datetime.now(UTC) + timedelta(hours=hours) for hours in urls_due.values()]
    place = batch.schema.get_field_index("next_attempt")
    batch = batch.set_column(place, batch.schema.field(place), pa.array(times, batch.schema.field(place).type))
    with pq.ParquetWriter(folder / f"part-{version}.parquet", prediction.SCHEMA) as writer:
        writer.write_batch(batch)


def due_now(folder: Path, version: str) -> tuple[pending.Due, list[str]]:
    due = found_due(folder, DueRule(), version)
    return due, [url[-1] for url in due.targets["url"].to_pylist()]


def found_due(folder: Path, rule: DueRule, version: str = "1") -> pending.Due:
    table = PredictionTable(folder)
    return pending.find(pending.due_files(table.summaries(), rule), table.files(), ("model", version), rule)


def test_rows_that_are_due_are_replaced_in_one_commit_and_the_others_carried_over(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    predictions = PredictionTable(folder)
    with predictions.staged("r1") as staging:
        write_rows(staging, "a", "b")
        write_pending(staging, "1", c=-1, d=5, e=-2)
        predictions.commit(staging, "r1", {})
    due, urls_due = due_now(folder, "1")
    assert sorted(urls_due) == ["c", "e"]
    assert due.targets["attempt"].to_pylist() == [1, 1]
    assert due.targets["address"].to_pylist() == due.targets["url"].to_pylist()
    predictions = PredictionTable(folder)
    with predictions.staged("r2") as staging:
        write_rows(staging, "c", "e")
        pending.carry(due, staging)
        predictions.commit(staging, "r2", {}, due.files)
    rows = opened(folder).to_pandas().set_index("url")["status"].to_dict()
    assert {url[-1]: status for url, status in rows.items()} == dict.fromkeys("abce", "ok") | {"d": "timeout"}
    assert due_now(folder, "1")[1] == []
    assert len(PredictionTable(folder).pending_files()) == 1


def test_a_new_model_takes_over_what_another_could_not_fetch_unless_it_has_a_row_itself(tmp_path: Path) -> None:
    predictions = PredictionTable(tmp_path / "t")
    with predictions.staged("r1") as staging:
        write_rows(staging, "a")  # version 1 has labelled it
        write_pending(staging, "2", a=-1, b=-1, c=1)
        write_pending(staging / "more", "3", b=-1)
        predictions.commit(staging, "r1", {})
    assert due_now(tmp_path / "t", "1")[1] == ["b"]
    assert sorted(due_now(tmp_path / "t", "2")[1]) == ["a", "b"]
    due, urls_due = due_now(tmp_path / "t", "4")
    assert sorted(urls_due) == ["a", "b"]
    assert len(due.files) == 2


def test_a_label_stays_where_another_tool_has_merged_it_into_a_file_with_what_is_due(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    predictions = PredictionTable(folder)
    with predictions.staged("r1") as staging:
        write_rows(staging, "a")
        write_pending(staging, "2", a=-1, b=3)
        predictions.commit(staging, "r1", {})
    opened(folder).optimize.compact()
    assert len(PredictionTable(folder).files()) == 1
    due, urls_due = due_now(folder, "2")
    assert urls_due == ["a"]
    pending.carry(due, tmp_path / "carried")
    kept_rows = pa.concat_tables(map(pq.read_table, predictions_table.written(tmp_path / "carried"))).to_pylist()
    assert sorted((row["url"][-1], row["model_version"], row["status"]) for row in kept_rows) == [
        ("a", "1", "ok"),
        ("b", "2", "timeout"),
    ]


def test_a_retry_that_loses_against_another_run_replaces_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    predictions = PredictionTable(folder)
    with predictions.staged("r1") as staging:
        write_pending(staging, "1", c=-1)
        predictions.commit(staging, "r1", {})
    loser = PredictionTable(folder)
    due, _ = due_now(folder, "1")
    add(folder, "r2", "d")
    write_rows(folder / "run-r3", "c")
    with pytest.raises(ServiceError, match="one scoring run at a time"):
        loser.commit(folder / "run-r3", "r3", {}, due.files)
    rows = opened(folder).to_pandas().set_index("url")["status"].to_dict()
    assert {url[-1]: status for url, status in rows.items()} == {"c": "timeout", "d": "ok"}


def test_what_was_read_of_the_feed_is_decided_by_the_commit(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    one, two = ({name: feed_marks.Mark(1, 2, "digest", 1)} for name in ("one", "two"))
    predictions = PredictionTable(folder)
    assert predictions.seen() == {}
    assert predictions.note("r1", one) == 1
    stale = PredictionTable(folder)
    PredictionTable(folder).note("r2", two)
    with pytest.raises(ServiceError, match="one scoring run at a time"):
        stale.note("r3", one)
    assert PredictionTable(folder).seen() == two
    add(folder, "r4", "a")
    assert PredictionTable(folder).seen() == two
    for path in (folder / "_windrow").glob("seen-*"):
        path.unlink()
    assert PredictionTable(folder).seen() == {}


def test_a_table_has_one_holder_and_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    with held(folder, "first"):
        with (
            pytest.raises(ServiceError, match=rf"run first, process {os.getpid()} on .*wait for it"),
            held(folder, "b"),
        ):
            pass
        PredictionTable(folder)
    with held(folder, "second"):
        assert "run second" in (folder / "_windrow" / "lock").read_text()


def test_what_holds_a_thesis_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UserError, match="choose another --table"), held(tmp_path, "run"):
        pass
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["thesis.txt"]


def test_a_table_of_an_earlier_windrow_gets_the_columns_that_came_since(tmp_path: Path) -> None:
    from deltalake import DeltaTable

    folder = tmp_path / "t"
    younger = ("address", "etag", "extra", "decided_by", "usage")
    earlier = pa.schema([column for column in prediction.SCHEMA if column.name not in younger])
    DeltaTable.create(str(folder), earlier)
    write_rows(folder / "run-r0", "a")
    path = folder / "run-r0" / "part-a.parquet"
    pq.write_table(pq.read_table(path).drop_columns(list(younger)), path)
    predictions = PredictionTable(folder)
    predictions.commit(folder / "run-r0", "r0", {})
    add(folder, "r1", "b")
    frame = opened(folder).to_pandas()
    assert set(frame.columns) == set(prediction.SCHEMA.names)
    assert sorted(frame["url"].str[-1]) == ["a", "b"]


def test_many_small_files_become_one_with_the_same_rows(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    for number, name in enumerate("abcdef"):
        add(folder, f"r{number}", name)
    predictions = PredictionTable(folder)
    with predictions.staged("late") as staging:
        write_pending(staging, "1", z=-1)
        predictions.commit(staging, "late", {}, marks={"feed": feed_marks.Mark(1, 2, "digest", 1)})
    before = opened(folder).to_pandas().sort_values("url", ignore_index=True)
    result = upkeep.maintain(PredictionTable(folder), "upkeep")
    assert (result["merged"], result["made"], result["removed"]) == (6, 1, 0)
    after = opened(folder).to_pandas().sort_values("url", ignore_index=True)
    assert after.equals(before)
    compacted = PredictionTable(folder)
    assert len(compacted.files()) == 2
    assert due_now(folder, "1")[1] == ["z"]
    assert compacted.seen() == {"feed": feed_marks.Mark(1, 2, "digest", 1)}
    assert upkeep.maintain(compacted, "again")["made"] == 0
    assert compacted.untold() == []


def test_vacuum_removes_the_files_of_a_killed_run_when_they_are_a_week_old(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    add(folder, "r1", "a")
    (folder / "_windrow").mkdir()
    (folder / "_windrow" / "told").write_text("0")
    for name, days in (("run-killed", 8), ("run-running", 1)):
        write_rows(folder / name, "b")
        then = time.time() - days * 86_400
        for path in (folder / name / "part-b.parquet", folder / "_windrow" / "told"):
            os.utime(path, (then, then))
    assert upkeep.maintain(PredictionTable(folder), "upkeep")["removed"] == 1
    assert not list((folder / "run-killed").glob("*"))
    assert list((folder / "run-running").glob("*"))
    assert (folder / "_windrow" / "told").exists()
    assert [url[-1] for url in urls_in(folder)] == ["a"]


def test_a_pause_doubles_up_to_a_week_and_ends_with_the_last_attempt() -> None:
    patience = Patience(attempts=8, hours=6)
    now = datetime(2026, 11, 24, tzinfo=UTC)
    pauses = [patience.next_attempt(Status.TIMEOUT, attempt, now) for attempt in range(1, 9)]
    assert [pause and (pause - now) / timedelta(hours=1) for pause in pauses] == [6, 12, 24, 48, 96, 168, 168, None]
    assert patience.next_attempt(Status.HTTP_ERROR, 1, now) is None
    assert Patience(100, 168).next_attempt(Status.TIMEOUT, 99, now) == now + timedelta(days=7)


def test_a_host_that_asks_for_a_longer_pause_gets_it_up_to_a_week() -> None:
    (target,), now = some_targets("a"), datetime.now(UTC)

    def due(status: Status, hours: float) -> float | None:
        fetched = Fetched(status, target.address, 503, etag='"v1"', next_attempt=now + timedelta(hours=hours))
        row = Prediction.of(target, fetched, STAMP)
        (values,) = prediction.record_batch([row], Patience(attempts=5, hours=6)).to_pylist()
        assert values["etag"] == '"v1"'
        return values["next_attempt"] and round((values["next_attempt"] - now) / timedelta(hours=1))

    assert [due(Status.HTTP_UNAVAILABLE, hours) for hours in (1, 30, 9999)] == [6, 30, 168]
    assert due(Status.HTTP_ERROR, 30) is None


def test_what_mlflow_has_not_heard_is_told_from_the_commits_oldest_first(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    for run_id in ("r1", "r2"):
        predictions = PredictionTable(folder)
        with predictions.staged(run_id) as staging:
            write_rows(staging, run_id)
            predictions.commit(staging, run_id, {"figures": {"rows": 1, "statuses": {"ok": 1}}})
    PredictionTable(folder).note("r3", {})
    untold = PredictionTable(folder).untold()
    assert [(entry["scoring"], entry["table_version"], entry["rows"]) for entry in untold] == [
        ("r1", 1, 1),
        ("r2", 2, 1),
    ]
    (folder / "_windrow").mkdir(exist_ok=True)
    PredictionTable(folder).told()
    assert PredictionTable(folder).untold() == []


def write_decided(folder: Path, page: DecidingKeys, status: str, *names: str, version: str = "1") -> None:
    """A file of rows that keys of the page decided, as Spark writes them."""
    folder.mkdir(exist_ok=True, parents=True)
    stamp = Stamp("run", "model", version, "digest")
    targets = some_targets(*names)
    rows = [row_of(target, status, stamp, final_url=target.address) for target in targets]
    path = folder / f"part-{status}-{names[0]}.parquet"
    with pq.ParquetWriter(path, prediction.SCHEMA) as writer:
        writer.write_batch(prediction.record_batch(rows, Patience(1, 0.0), page))


def at_most(size: int) -> DecidingKeys:
    return DecidingKeys({"max_bytes": size, "attempts": 1, "allow_addresses": []})


def ends(due: pending.Due) -> list[str]:
    return sorted(url[-1] for url in due.targets["url"].to_pylist())


def test_rows_that_a_key_decided_are_due_when_it_is_loosened_and_the_log_alone_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    predictions = PredictionTable(folder)
    with predictions.staged("r1") as staging:
        write_rows(staging, "a")
        write_decided(staging, at_most(1000), "too_large", "b", "c")
        write_decided(staging, at_most(1000), "refused_address", "d")
        predictions.commit(staging, "r1", {})
    files = {file.path.name: file for file in PredictionTable(folder).summaries()}
    assert {name for name, file in files.items() if file.decided_by} == {
        "part-too_large-b.parquet",
        "part-refused_address-d.parquet",
    }
    for size in (1000, 999):
        assert not [name for name, file in files.items() if DueRule(keys=at_most(size)).may_be_in(file)]
    assert ends(found_due(folder, DueRule(keys=at_most(1000)))) == []
    due = found_due(folder, DueRule(keys=at_most(2000)))
    assert (ends(due), due.reopened, due.targets["attempt"].to_pylist()) == (["b", "c"], 2, [0, 0])
    assert [path.name for path in due.files] == ["part-too_large-b.parquet"]
    predictions = PredictionTable(folder)
    with predictions.staged("r2") as staging:
        write_rows(staging, "b")
        write_decided(staging, at_most(2000), "too_large", "c")
        pending.carry(due, staging)
        predictions.commit(staging, "r2", {}, due.files)
    rows = opened(folder).to_pandas().set_index("url")["status"].to_dict()
    assert {url[-1]: status for url, status in rows.items()} == {
        **dict.fromkeys("ab", "ok"),
        **{"c": "too_large", "d": "refused_address"},
    }
    for size in (2000, 1000, 2000):  # changed back and forth
        assert ends(found_due(folder, DueRule(keys=at_most(size)))) == []
    assert ends(found_due(folder, DueRule(keys=at_most(2001)))) == ["c"]


def test_more_attempts_make_a_row_due_that_goes_on_counting(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    predictions = PredictionTable(folder)
    with predictions.staged("r1") as staging:
        write_decided(staging, DecidingKeys({"attempts": 1}), "http_unavailable", "a")
        predictions.commit(staging, "r1", {})
    due = found_due(folder, DueRule(keys=DecidingKeys({"attempts": 2})))
    assert (ends(due), due.targets["attempt"].to_pylist()) == (["a"], [1])


def test_a_person_may_ask_for_a_final_status_but_not_for_a_line_that_is_no_url(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    predictions = PredictionTable(folder)
    with predictions.staged("r1") as staging:
        write_rows(staging, "a")
        write_decided(staging, NO_KEYS, "http_error", "b", "c")
        write_decided(staging, NO_KEYS, "not_an_image", "d")
        line = Target("no url", "f" * 64, None, "invalid_url", "no")
        with pq.ParquetWriter(staging / "part-line.parquet", prediction.SCHEMA) as writer:
            writer.write_batch(prediction.record_batch([Prediction.of(line, None, STAMP)], PATIENCE))
        predictions.commit(staging, "r1", {})
    assert ends(found_due(folder, DueRule())) == []
    assert ends(found_due(folder, DueRule(statuses=frozenset({"http_error"})))) == ["b", "c"]
    due = found_due(folder, DueRule(statuses=frozenset({"http_error", "not_an_image", "invalid_url"})))
    assert (ends(due), due.reopened, due.targets["attempt"].to_pylist()) == (["b", "c", "d"], 3, [1, 1, 1])
    pending.carry(due, tmp_path / "carried")
    kept_rows = [
        row for path in predictions_table.written(tmp_path / "carried") for row in pq.read_table(path).to_pylist()
    ]
    assert [row["status"] for row in kept_rows] == []
    assert len(due.files) == 2


def test_what_is_carried_over_stays_in_files_by_what_may_make_it_due(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    predictions = PredictionTable(folder)
    with predictions.staged("r1") as staging:
        write_rows(staging, "a")
        write_pending(staging, "1", b=-1, c=5)
        write_decided(staging, at_most(1000), "too_large", "d")
        predictions.commit(staging, "r1", {})
    opened(folder).optimize.compact()
    (file,) = PredictionTable(folder).summaries()
    assert file.pending
    due = found_due(folder, DueRule(keys=at_most(1000)))
    assert ends(due) == ["b"]
    predictions = PredictionTable(folder)
    with predictions.staged("r2") as staging:
        write_rows(staging, "b")
        pending.carry(due, staging)
        predictions.commit(staging, "r2", {}, due.files)
    kinds = [(file.pending, file.decided_by) for file in PredictionTable(folder).summaries()]
    decided = at_most(1000).decided_by(Status.TOO_LARGE, True)
    assert sorted(kinds, key=str) == sorted(
        [(False, None), (False, None), (True, None), (False, (decided, decided))], key=str
    )


def test_upkeep_merges_what_one_value_decided_and_nothing_else_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    for number, (size, name) in enumerate([(1000, "a"), (1000, "b"), (2000, "c"), (2000, "d")]):
        predictions = PredictionTable(folder)
        with predictions.staged(f"r{number}") as staging:
            write_rows(staging, f"{name}{name}")
            write_decided(staging, at_most(size), "too_large", name)
            predictions.commit(staging, f"r{number}", {})
    result = upkeep.maintain(PredictionTable(folder), "upkeep")
    assert (result["merged"], result["made"]) == (8, 3)
    assert ends(found_due(folder, DueRule(keys=at_most(2000)))) == ["a", "b"]


def test_a_file_of_before_the_column_has_no_row_that_a_key_decided(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    predictions = PredictionTable(folder)
    write_decided(folder / "run-r0", NO_KEYS, "too_large", "a")
    path = folder / "run-r0" / "part-too_large-a.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["decided_by"]), path)
    predictions.commit(folder / "run-r0", "r0", {})
    assert [(file.pending, file.decided_by) for file in PredictionTable(folder).summaries()] == [(False, None)]
    assert ends(found_due(folder, DueRule(keys=at_most(9000)))) == []
    assert ends(found_due(folder, DueRule(statuses=frozenset({"too_large"})))) == ["a"]


def commit_figures(folder: Path, run_id: str, **metadata: str) -> None:
    predictions = PredictionTable(folder)
    with predictions.staged(run_id) as staging:
        write_rows(staging, run_id)
        predictions.commit(staging, run_id, {"figures": {"rows": 1}, **metadata})


def test_what_no_result_reported_is_what_is_not_logged_and_what_this_dag_run_committed(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    PredictionTable(folder)
    (folder / "_windrow").mkdir()

    def unreported(dag_run: str | None) -> list[str]:
        return [entry["scoring"] for entry in PredictionTable(folder).unreported(dag_run)]

    commit_figures(folder, "r1", dagRunId="monday")
    commit_figures(folder, "r2", dagRunId="tuesday")
    assert unreported(None) == ["r1", "r2"]
    PredictionTable(folder).told()
    PredictionTable(folder).note("r3", {})
    assert unreported(None) == unreported("wednesday") == []
    assert unreported("tuesday") == ["r2"]
    assert unreported("monday") == []  # another run has committed since
    commit_figures(folder, "r4", dagRunId="tuesday")
    assert unreported("tuesday") == ["r2", "r4"]
    assert unreported("wednesday") == ["r4"]


@pytest.mark.parametrize("statistics", [True, False])
def test_a_footer_counts_the_rows_that_are_final_also_where_a_file_has_no_statistics(
    tmp_path: Path, statistics: bool
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    one, two = {"url": "a", "decided_by": "y"}, {"url": "b", "next_attempt": later, "decided_by": "x"}
    rows = pa.Table.from_pylist([one, two, {"url": "c"}], schema=prediction.SCHEMA)
    pq.write_table(rows, tmp_path / "part-0.parquet", write_statistics=statistics, row_group_size=1)
    assert Statistics.of(tmp_path / "part-0.parquet") == Statistics(3, 2, 1, ("x", "y"))
    pq.write_table(rows.slice(0, 0), tmp_path / "part-1.parquet")
    assert predictions_table.parts(tmp_path) == [tmp_path / "part-0.parquet"]
    assert len(predictions_table.written(tmp_path)) == 2
