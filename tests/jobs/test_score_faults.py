"""score_images.py is ended between any two of its steps, with its workers, twice at once, with MLflow or the disk away:
after the next run there is exactly one row a URL and model version, and readers never see anything else.

In make test a driver is ended between two steps by an exception that nothing catches; in make test-faults by SIGKILL
as well, and in a retry and around a withheld run.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness.disk import FILLER, fill, small_disk
from harness.jobs import submit_command, submit_environment, submit_job
from harness.web import Line
from windrow.scoring.table.lock import held

from . import killed_at
from .conftest import Images, crown, register, rows_of, scorings, write_feed

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]
Run = Callable[..., Any]
JOB = "score_images.py"
TABLE = "windrow.scoring.table.predictions_table"
COMMITTED = "after deltalake.DeltaTable.create_write_transaction"
BEFORE_THE_COMMIT = (
    # the table is held, and nothing is known yet
    f"before {TABLE}.PredictionTable.__init__",
    # it is known what is new in the feed
    "after windrow.scoring.work.look",
    # the URLs are found
    "after windrow.scoring.work.find",
    # Spark has written the rows
    f"after {TABLE}.write",
    # what was read of the feed is written beside the table
    f"after {TABLE}.PredictionTable._keep",
)
AFTER_THE_COMMIT = (
    # the log has it, and the job does not know it
    COMMITTED,
    # the table is right, and MLflow knows nothing
    f"after {TABLE}.PredictionTable.commit",
    # MLflow knows it, and the table does not know that
    "after windrow.tracking.scoring_runs.log_scoring",
    # all is done, but for the result
    "before windrow.command.write_json",
)


@dataclass(frozen=True)
class Victim:
    """score_images.py on a page, and a way to end it at a step: end_at(step, *arguments)."""

    page: Path
    end_at: Callable[..., None]


@pytest.fixture(
    params=["here", pytest.param("SIGKILL", marks=[pytest.mark.faults, pytest.mark.submit])],
)
def victim(request: pytest.FixtureRequest, run_job: Run, tmp_path: Path) -> Victim:
    """In this process; by SIGKILL with a network at int8, for no process has to import TensorFlow then."""
    page = request.getfixturevalue("page" if request.param == "here" else "low_page")
    way = partial(end_here, run_job) if request.param == "here" else kill
    return Victim(page, partial(way, page, tmp_path))


def end_here(run_job: Run, page: Path, tmp_path: Path, step: str, *arguments: str) -> None:
    """Run the job in this process until it is ended at a step."""
    table = tmp_path / "home" / "tables" / "brightness"
    with pytest.raises(killed_at.Killed), killed_at.killed_here(step, table):
        run_job("score_images", "--experiment", page, *arguments)
    assert not (tmp_path / "score_images-result.json").exists()


def kill(page: Path, tmp_path: Path, step: str, *arguments: str) -> None:
    """Run the job by spark-submit until it kills itself at a step; fails if it ends in another way."""
    result, log = tmp_path / "killed.json", tmp_path / "killed.log"
    script = Path(killed_at.__file__)
    command = submit_command(script, *step.split(), "--experiment", page, "--result", result, *arguments)
    with log.open("w") as output:  # a pipe would be held open by whatever outlives the job
        code = subprocess.run(command, env=submit_environment(), stdout=output, stderr=output, timeout=600).returncode
    assert code == 128 + signal.SIGKILL, log.read_text()[-3000:]
    assert not result.exists()


@pytest.mark.parametrize("steps", [BEFORE_THE_COMMIT, AFTER_THE_COMMIT], ids=["before", "after"])
@pytest.mark.usefixtures("champion")
def test_a_driver_that_is_killed_between_two_steps_loses_nothing_and_doubles_nothing(
    run_job: Run, victim: Victim, tmp_path: Path, steps: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    table = home / "tables" / "brightness"
    feed: list[str] = []
    for number, step in enumerate(steps):
        feed.append(f"ftp://127.0.0.1/{number}")  # refused without being asked: no network has to be loaded
        write_feed(home, "one.txt", *feed)
        victim.end_at(step)
        if (table / "_delta_log").is_dir():
            assert set(rows_of(table)) in (set(feed), set(feed[:-1])), step
        finished = run_job("score_images", "--experiment", victim.page)
        assert finished.code == 0, (step, finished.output)
        assert rows_of(table) == dict.fromkeys(feed, "refused_scheme"), step
        assert len(scorings()) == len(feed), step
    assert {run.info.status for run in scorings()} == {"FINISHED"}
    assert len(list((table / "_windrow").glob("seen-*.json"))) <= 2


def make_due(table: Path) -> None:
    """Have every pending row be due since an hour, as if that much time had passed."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from windrow.scoring.table.predictions_table import PredictionTable

    predictions = PredictionTable(table)
    pending = predictions.pending_files()
    folder = table / f"run-clock-{len(predictions.files())}-{predictions.version}"
    folder.mkdir()
    for path in pending:
        rows = pq.read_table(path)
        place = rows.schema.get_field_index("next_attempt")
        past = pa.array([datetime.now(UTC) - timedelta(hours=1)] * rows.num_rows, rows.schema.field(place).type)
        pq.write_table(rows.set_column(place, rows.schema.field(place), past), folder / f"part-{path.name}")
    predictions.commit(folder, folder.name, {}, replaced=pending)


@pytest.mark.faults
@pytest.mark.parametrize("step", ["after windrow.scoring.table.pending.carry", COMMITTED], ids=["before", "after"])
@pytest.mark.usefixtures("champion")
def test_a_retry_that_is_killed_around_its_commit_leaves_the_old_row_or_the_new_one(
    run_job: Run, victim: Victim, images: Images, tmp_path: Path, step: str
) -> None:
    home = tmp_path / "home"
    write_feed(home, "one.txt", f"{images.address}/flaky/20.png", "ftp://127.0.0.1/1")
    first = run_job("score_images", "--experiment", victim.page)
    assert first.result["statuses"] == {"http_unavailable": 1, "refused_scheme": 1}, first.output
    table = Path(first.result["table"])
    make_due(table)
    images.awake = True
    victim.end_at(step)
    expected = "ok" if step == COMMITTED else "http_unavailable"
    assert rows_of(table) == {f"{images.address}/flaky/20.png": expected, "ftp://127.0.0.1/1": "refused_scheme"}
    finished = run_job("score_images", "--experiment", victim.page)
    assert finished.code == 0, finished.output
    assert rows_of(table) == {f"{images.address}/flaky/20.png": "ok", "ftp://127.0.0.1/1": "refused_scheme"}


@pytest.mark.faults
@pytest.mark.usefixtures("champion")
def test_a_night_that_is_withheld_and_accepted_survives_a_kill_at_either_step(
    run_job: Run, victim: Victim, images: Images, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    table = home / "tables" / "brightness"
    gate = ("--set", "scoring.drift_gate=0.25", "--set", "scoring.timeout_seconds=60")
    usual = [f"{images.address}/{level}.png" for level in range(28, 228)]
    write_feed(home, "one.txt", *usual)
    first = run_job("score_images", "--experiment", victim.page, *gate)
    assert (first.code, first.result["statuses"]) == (0, {"ok": 200}), first.output
    dark = [f"{images.address}/{zeros}{level}.png" for level in range(10, 110) for zeros in ("0", "00")]
    write_feed(home, "two.txt", *dark)
    victim.end_at("after windrow.scoring.table.withheld.keep", *gate)
    assert rows_of(table) == dict.fromkeys(usual, "ok")
    asked = len(images.paths)
    second = run_job("score_images", "--experiment", victim.page, *gate)
    assert second.code == 1
    assert "200 rows are withheld" in second.error
    assert len(images.paths) == asked  # what the killed run had put aside was whole
    victim.end_at("after windrow.scoring.table.withheld.restore", *gate, "--accept-drift")
    assert rows_of(table) == dict.fromkeys(usual, "ok")
    third = run_job("score_images", "--experiment", victim.page, *gate, "--accept-drift")
    assert third.code == 0, third.output
    assert len(images.paths) == asked + len(dark)  # the rows were lost with the killed run, and no URL was
    assert rows_of(table) == dict.fromkeys([*usual, *dark], "ok")
    assert not (table / "_windrow" / "withheld").exists()


def command_line(process: psutil.Process) -> list[str]:
    """Nothing for one that has ended, or that an earlier test left to be reaped."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


@pytest.mark.faults
@pytest.mark.submit
@pytest.mark.parametrize("victim", ["pyspark.daemon", "CoarseGrainedExecutorBackend"])
@pytest.mark.usefixtures("champion", "cluster_work")
def test_a_worker_or_executor_that_is_killed_costs_time_and_no_row(
    low_page: Path, images: Images, tmp_path: Path, victim: str
) -> None:
    killed: list[int] = []

    def kill_once(_: str) -> None:
        drivers = [process for process in psutil.Process().children() if JOB in " ".join(command_line(process))]
        all_below = [process for driver in drivers for process in driver.children(recursive=True)]
        found = [process for process in all_below if victim in " ".join(command_line(process))]
        if found and not killed:
            killed.append(found[-1].pid)  # the daemon's youngest child, or the executor
            found[-1].kill()

    images.at_each = kill_once
    urls = [f"{images.address}/{level}.png" for level in range(0, 200, 10)]
    write_feed(tmp_path / "home", "one.txt", *urls)
    master = "local[2,4]" if victim == "pyspark.daemon" else "local-cluster[1,2,1024]"
    finished = submit_job("score_images", "--experiment", low_page, folder=tmp_path, master=master)
    assert finished.code == 0, finished.output
    assert len(killed) == 1
    assert rows_of(Path(finished.result["table"])) == dict.fromkeys(urls, "ok")


@pytest.mark.faults
@pytest.mark.submit
@pytest.mark.usefixtures("champion")
def test_a_driver_that_is_killed_with_its_commit_in_the_log_is_gone_on_from(
    run_job: Run, page: Path, tmp_path: Path
) -> None:
    """SIGKILL: nothing of the process is left to tidy up, and its lock goes with it."""
    feed = ["ftp://127.0.0.1/1", "ftp://127.0.0.1/2"]
    table = tmp_path / "home" / "tables" / "brightness"
    write_feed(tmp_path / "home", "one.txt", *feed)
    kill(page, tmp_path, COMMITTED)
    assert rows_of(table) == dict.fromkeys(feed, "refused_scheme")
    assert scorings() == []
    write_feed(tmp_path / "home", "one.txt", *feed, "ftp://127.0.0.1/3")
    finished = run_job("score_images", "--experiment", page)
    assert (finished.code, finished.result["new"], finished.result["files_read"]) == (0, 1, 1), finished.output
    assert rows_of(table) == dict.fromkeys([*feed, "ftp://127.0.0.1/3"], "refused_scheme")
    assert [(run.info.status, run.data.metrics["rows"]) for run in scorings()] == [("FINISHED", 2), ("FINISHED", 1)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", mebibytes=2) as folder:
        yield folder


@pytest.mark.parametrize(
    "step",
    ["after windrow.scoring.work.find", f"after {TABLE}.write", f"after {TABLE}.PredictionTable._keep"],
    ids=["rows", "marks", "log"],
)
@pytest.mark.usefixtures("champion")
def test_a_disk_that_is_full_fails_the_run_with_a_sentence_and_the_next_one_loses_and_doubles_nothing(
    run_job: Run, page: Path, images: Images, disk: Path, tmp_path: Path, step: str
) -> None:
    table = disk / "brightness"
    arguments = ("score_images", "--experiment", page, "--table", table)
    before, more = [f"{images.address}/20.png"], [f"{images.address}/{level}.png" for level in (30, 230)]
    write_feed(tmp_path / "home", "one.txt", *before)
    assert run_job(*arguments).code == 0
    write_feed(tmp_path / "home", "one.txt", *before, *more)
    with killed_at.wrapped(step, lambda: fill(disk)):
        full = run_job(*arguments)
    assert full.code == 1
    assert "must have room for the" in full.error, full.output
    assert "got no space left; free some" in full.error
    assert full.result == {}
    assert rows_of(table) == dict.fromkeys(before, "ok")
    assert len(list(table.glob("run-*"))) == 1  # what was half written is gone
    (disk / FILLER).unlink()
    after = run_job(*arguments)
    assert (after.code, after.result["new"]) == (0, 2), after.output
    assert rows_of(table) == dict.fromkeys([*before, *more], "ok")
    assert [run.info.status for run in scorings()] == ["FINISHED", "FINISHED"]


@pytest.mark.usefixtures("champion")
def test_a_run_labels_with_the_champion_of_its_beginning_whoever_is_crowned_meanwhile(
    run_job: Run, images: Images, page: Path, tmp_path: Path
) -> None:
    """The alias is resolved once: who asks again gets version 2, to which 150 is dark."""
    from deltalake import DeltaTable

    old, new = f"{images.address}/20.png", f"{images.address}/150.png"
    arguments = ("score_images", "--experiment", page, "--rescore")
    write_feed(tmp_path / "home", "one.txt", old)
    assert run_job(*arguments).code == 0
    write_feed(tmp_path / "home", "one.txt", old, new)
    with killed_at.wrapped("after mlflow.MlflowClient.get_model_version_by_alias", lambda: crown("2")):
        moved = run_job(*arguments)
    assert (moved.code, moved.result["model_version"], moved.result["rows"]) == (0, "1", 1), moved.output
    frame = DeltaTable(moved.result["table"]).to_pandas()
    assert sorted(zip(frame["url"], frame["label"], frame["model_version"], strict=True)) == [
        (new, "bright", "1"),
        (old, "dark", "1"),
    ]
    assert frame["model_digest"].nunique() == 1
    assert [run.data.params["model_version"] for run in scorings()] == ["1", "1"]
    later = run_job(*arguments)
    assert (later.code, later.result["model_version"], later.result["rescored"]) == (0, "2", 2), later.output
    assert later.result["agree"] == 0.5


def test_an_mlflow_that_is_away_at_the_end_is_told_by_the_next_run(
    run_job: Run, page: Path, images: Images, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    register(None, 127.5)
    url = f"{images.address}/20.png"
    write_feed(tmp_path / "home", "one.txt", url)
    with Line(mlflow_server) as line:
        images.at_each = lambda _: line.cut()  # the model is fetched by then
        first = run_job("score_images", "--experiment", page, environment={"MLFLOW_TRACKING_URI": line.address})
    assert first.code == 1
    assert "are committed to" in first.error
    assert "the next run logs them" in first.error
    table = tmp_path / "home" / "tables" / "brightness"
    assert rows_of(table) == {url: "ok"}
    assert scorings() == []
    second = run_job("score_images", "--experiment", page)
    assert (second.code, second.result["rows"]) == (0, 0), second.output
    (run,) = scorings()
    assert (run.info.status, run.data.metrics["status_ok"], run.data.metrics["rows"]) == ("FINISHED", 1, 1)
    assert run.data.params["model_version"] == "1"


@pytest.mark.parametrize("arguments", [(), ("--rescore",), ("--maintain",)])
def test_of_two_runs_at_once_the_second_is_refused_and_names_the_first(
    run_job: Run, page: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    write_feed(home, "one.txt", "ftp://127.0.0.1/1")
    with held(home / "tables" / "brightness", "first"):
        second = run_job("score_images", "--experiment", page, *arguments)
    assert second.code == 1
    assert f"run first, process {os.getpid()} on {socket.gethostname()}, since" in second.error
    assert not (home / "tables" / "brightness" / "_delta_log").exists()
