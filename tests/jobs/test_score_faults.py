"""kill -9 of score_images.py between any two of its steps, of its workers, two at once, and an MLflow that goes away:
after the next run there is exactly one row a URL and model version, and readers never see anything else."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from windrow import tracking
from windrow.scoring.hold import held

from .conftest import Images, write_feed

pytestmark = [
    pytest.mark.faults,
    pytest.mark.spark,
    pytest.mark.tensorflow,
    pytest.mark.mlflow,
    pytest.mark.timeout(2400),
]
Submit = Callable[..., Any]
REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = "windrow.scoring.table"
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
    "after deltalake.DeltaTable.create_write_transaction",
    # the table is right, and MLflow knows nothing
    f"after {TABLE}.PredictionTable.commit",
    # MLflow knows it, and the table does not know that
    "after windrow.tracking.log_scoring",
    # all is done, but for the result
    "before windrow.command.write_json",
)


def rows_of(table: Path) -> dict[str, str]:
    """URL → status as two readers see it; fails where a URL has two rows of a version, or the readers disagree."""
    import pyarrow.parquet as pq
    from deltalake import DeltaTable

    delta = DeltaTable(str(table))
    frame = delta.to_pandas().set_index(["url", "model_version"], verify_integrity=True)
    plain = [row for file in delta.file_uris() for row in pq.read_table(file, columns=["url", "status"]).to_pylist()]
    rows: dict[str, str] = frame["status"].droplevel(1).to_dict()
    assert sorted((row["url"], row["status"]) for row in plain) == sorted(rows.items())
    return rows


def killed_at(step: str, page: Path, tmp_path: Path, *arguments: str) -> None:
    """Run the job until it kills itself at a step; fails if it ends in another way."""
    command = [
        *(str(Path(sys.executable).with_name("spark-submit")), "--master", "local[2]", "--driver-memory", "1g"),
        *("--conf", "spark.ui.enabled=false", str(Path(__file__).with_name("killed_at.py")), *step.split()),
        *("--experiment", str(page), "--result", str(tmp_path / "killed.json"), *arguments),
    ]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "PATH": path}
    log = tmp_path / "killed.log"
    with log.open("w") as output:  # a pipe would be held open by whatever outlives the job
        code = subprocess.run(command, env=variables, stdout=output, stderr=output, timeout=600).returncode
    assert code == 128 + signal.SIGKILL, log.read_text()[-3000:]
    assert not (tmp_path / "killed.json").exists()


def scorings() -> list[Any]:
    """The scoring runs that MLflow has."""
    client = tracking.connect()
    experiment = client.get_experiment_by_name("brightness")
    return list(client.search_runs([experiment.experiment_id], "tags.`windrow.kind` = 'scoring'"))


@pytest.mark.parametrize("steps", [BEFORE_THE_COMMIT, AFTER_THE_COMMIT], ids=["before", "after"])
@pytest.mark.usefixtures("champion")
def test_a_driver_that_is_killed_between_two_steps_loses_nothing_and_doubles_nothing(
    submit: Submit, page: Path, tmp_path: Path, steps: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    table = home / "tables" / "brightness"
    feed: list[str] = []
    for number, step in enumerate(steps):
        feed.append(f"ftp://127.0.0.1/{number}")  # refused without being asked: no network has to be loaded
        write_feed(home, "one.txt", *feed)
        killed_at(step, page, tmp_path)
        if (table / "_delta_log").is_dir():
            assert set(rows_of(table)) in (set(feed), set(feed[:-1])), step
        finished = submit("score_images", "--experiment", page)
        assert finished.code == 0, (step, finished.output)
        assert rows_of(table) == dict.fromkeys(feed, "refused_scheme"), step
        assert len(scorings()) == len(feed), step
    assert {run.info.status for run in scorings()} == {"FINISHED"}
    assert len(list((table / "_windrow").glob("seen-*.json"))) <= 2


def make_due(table: Path) -> None:
    """Have every pending row be due since an hour, as if that much time had passed."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from windrow.scoring.table import PredictionTable

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


@pytest.mark.parametrize("step", ["after windrow.scoring.pending.carry", AFTER_THE_COMMIT[0]], ids=["before", "after"])
@pytest.mark.usefixtures("champion")
def test_a_retry_that_is_killed_around_its_commit_leaves_the_old_row_or_the_new_one(
    submit: Submit, page: Path, images: str, tmp_path: Path, step: str
) -> None:
    home = tmp_path / "home"
    write_feed(home, "one.txt", f"{images}/flaky/20.png", "ftp://127.0.0.1/1")
    first = submit("score_images", "--experiment", page)
    assert first.result["statuses"] == {"http_unavailable": 1, "refused_scheme": 1}, first.output
    table = Path(first.result["table"])
    make_due(table)
    Images.awake = True
    killed_at(step, page, tmp_path)
    expected = "ok" if step == AFTER_THE_COMMIT[0] else "http_unavailable"
    assert rows_of(table) == {f"{images}/flaky/20.png": expected, "ftp://127.0.0.1/1": "refused_scheme"}
    finished = submit("score_images", "--experiment", page)
    assert finished.code == 0, finished.output
    assert rows_of(table) == {f"{images}/flaky/20.png": "ok", "ftp://127.0.0.1/1": "refused_scheme"}


@pytest.mark.usefixtures("champion")
def test_a_night_that_is_withheld_and_accepted_survives_a_kill_at_either_step(
    submit: Submit, page: Path, images: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    table = home / "tables" / "brightness"
    gate = ("--set", "scoring.drift_gate=0.25", "--set", "scoring.timeout_seconds=60")
    usual = [f"{images}/{level}.png" for level in range(28, 228)]
    write_feed(home, "one.txt", *usual)
    first = submit("score_images", "--experiment", page, *gate)
    assert (first.code, first.result["statuses"]) == (0, {"ok": 200}), first.output
    dark = [f"{images}/{zeros}{level}.png" for level in range(10, 110) for zeros in ("0", "00")]
    write_feed(home, "two.txt", *dark)
    killed_at("after windrow.scoring.withheld.keep", page, tmp_path, *gate)
    assert rows_of(table) == dict.fromkeys(usual, "ok")
    asked = len(Images.asked)
    second = submit("score_images", "--experiment", page, *gate)
    assert second.code == 1
    assert "200 rows are withheld" in second.output.splitlines()[-1]
    assert len(Images.asked) == asked  # what the killed run had put aside was whole
    killed_at("after windrow.scoring.withheld.restore", page, tmp_path, *gate, "--accept-drift")
    assert rows_of(table) == dict.fromkeys(usual, "ok")
    third = submit("score_images", "--experiment", page, *gate, "--accept-drift")
    assert third.code == 0, third.output
    assert len(Images.asked) == asked + len(dark)  # the rows were lost with the killed run, and no URL was
    assert rows_of(table) == dict.fromkeys([*usual, *dark], "ok")
    assert not (table / "_windrow" / "withheld").exists()


def command_line(process: psutil.Process) -> list[str]:
    """Nothing for one that has ended, or that an earlier test left to be reaped."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


@pytest.mark.parametrize("victim", ["pyspark.daemon", "CoarseGrainedExecutorBackend"])
@pytest.mark.usefixtures("champion", "cluster_work")
def test_a_worker_or_executor_that_is_killed_costs_time_and_no_row(
    submit: Submit, page: Path, images: str, tmp_path: Path, victim: str
) -> None:
    killed: list[int] = []

    def kill_once(_: str) -> None:
        mine = psutil.Process().children(recursive=True)
        found = [process for process in mine if victim in " ".join(command_line(process))]
        if found and not killed:
            killed.append(found[-1].pid)  # the daemon's youngest child, or the executor
            found[-1].kill()

    Images.at_each = kill_once
    urls = [f"{images}/{level}.png" for level in range(0, 200, 10)]
    write_feed(tmp_path / "home", "one.txt", *urls)
    master = "local[2,4]" if victim == "pyspark.daemon" else "local-cluster[1,2,1024]"
    finished = submit("score_images", "--experiment", page, master=master)
    assert finished.code == 0, finished.output
    assert len(killed) == 1
    assert rows_of(Path(finished.result["table"])) == dict.fromkeys(urls, "ok")


class Relay:
    """A way to MLflow's server that can be cut."""

    def __init__(self, address: str) -> None:
        self._target = int(address.rsplit(":", 1)[1])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Nobody listens any more, and what is open is closed."""
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):  # not connected any more
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        try:
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()
        except OSError:
            return

    @staticmethod
    def _pass(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65_536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.fixture
def relay(mlflow_server: str) -> Iterator[Relay]:
    cuttable = Relay(mlflow_server)
    yield cuttable
    cuttable.cut()


def test_an_mlflow_that_is_away_at_the_end_is_told_by_the_next_run(
    submit: Submit,
    page: Path,
    images: str,
    relay: Relay,
    mlflow_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    request.getfixturevalue("champion")
    url = f"{images}/20.png"
    write_feed(tmp_path / "home", "one.txt", url)
    Images.at_each = lambda _: relay.cut()  # the model is fetched by then
    first = submit("score_images", "--experiment", page, environment={"MLFLOW_TRACKING_URI": relay.address})
    assert first.code == 1
    assert "are committed to" in first.output.splitlines()[-1]
    assert "the next run records them" in first.output.splitlines()[-1]
    table = tmp_path / "home" / "tables" / "brightness"
    assert rows_of(table) == {url: "ok"}
    assert scorings() == []
    second = submit("score_images", "--experiment", page)
    assert (second.code, second.result["rows"]) == (0, 0), second.output
    (run,) = scorings()
    assert (run.info.status, run.data.metrics["status_ok"], run.data.metrics["rows"]) == ("FINISHED", 1, 1)
    assert run.data.params["model_version"] == "1"


@pytest.mark.parametrize("arguments", [(), ("--rescore",), ("--maintain",)])
def test_of_two_runs_at_once_the_second_is_refused_and_names_the_first(
    submit: Submit, page: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    write_feed(home, "one.txt", "ftp://127.0.0.1/1")
    with held(home / "tables" / "brightness", "first"):
        second = submit("score_images", "--experiment", page, *arguments)
    assert second.code == 1
    assert f"run first, process {os.getpid()} on {socket.gethostname()}, since" in second.output.splitlines()[-1]
    assert not (home / "tables" / "brightness" / "_delta_log").exists()
