"""The command line that all jobs share: exit codes, the last words, and the result file."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from windrow import command, files
from windrow.errors import NoChampionError, PageError, Problem, ServiceError, UserError, WindrowError

REPOSITORY = Path(__file__).resolve().parents[2]


def arguments(*extra: str) -> argparse.Namespace:
    return command.parser("A job.").parse_args(["--experiment", "page.yaml", *extra])


def fails_with(error: Exception) -> Callable[[argparse.Namespace], dict[str, Any]]:
    def job(_: argparse.Namespace) -> dict[str, Any]:
        raise error

    return job


def test_overrides_are_kept_in_their_order() -> None:
    assert arguments("--set", "a=1", "--set", "b=2").overrides == ["a=1", "b=2"]
    assert arguments().overrides == []
    assert arguments().result is None


def test_a_job_without_a_page_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.parser("A job.").parse_args([])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("the following arguments are required: --experiment")


def test_a_job_that_is_done_ends_with_0_and_prints_its_result_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(lambda _: {"trials": 8}, arguments()) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[-1]) == {"trials": 8}
    assert printed.err == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [(UserError("mend it"), 2), (ServiceError("away"), 1), (WindrowError("else"), 1)],
    ids=["user", "service", "else"],
)
def test_the_last_line_says_what_went_wrong(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(fails_with(error), arguments()) == code
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {error}"


@pytest.mark.parametrize("given", [("--result", "/tmp/gr????e.json"), ("--set", "dataset.source=/data/caf??")])
def test_letters_that_spark_submit_has_lost_end_the_job_before_it_writes_elsewhere(
    given: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    monkeypatch.setenv("LC_ALL", "C")
    assert command.run(lambda _: {}, arguments(*given)) == 2
    assert "letters outside ASCII need a locale that has them; got " in capsys.readouterr().err
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert command.run(lambda _: {}, arguments("--set", given[1])) == 0


def test_a_page_with_mistakes_ends_with_2_and_lists_them_indented(capsys: pytest.CaptureFixture[str]) -> None:
    error = PageError("page.yaml", [Problem("name", "is missing; add it"), Problem("space", "needs one", 3)])
    assert command.run(fails_with(error), arguments()) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: page.yaml: 2 mistakes",
        "  name: is missing; add it",
        "  space (line 3): needs one",
    ]


def test_a_fault_of_the_disk_ends_with_1_with_its_traceback_above(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(fails_with(OSError(28, "No space left on device", "/data/x")), arguments()) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "error: No space left on device: /data/x"


def test_an_os_error_without_a_file_still_says_something(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(fails_with(OSError("the cable is out")), arguments()) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: OSError: the cable is out"


@pytest.mark.parametrize(
    "said", ["Job aborted: No space left on device", "Job aborted due to stage failure:\nNo executor"]
)
def test_a_failed_spark_job_ends_with_javas_own_sentence(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = RuntimeError(f"An error occurred while calling z:Python.collect.\n: {said}\n\nDriver stacktrace:")
    assert command.run(fails_with(error), arguments()) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {said}".replace("\n", " ")


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        ("pyarrow.lib.ArrowInvalid: no footer", "pyarrow.lib.ArrowInvalid: no footer"),
        ("windrow.errors.UserError: a feed must be whole; got: half", "a feed must be whole; got: half"),
    ],
)
def test_an_error_of_a_python_worker_ends_with_the_workers_own_sentence(
    last: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"""
  An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "worker.py", line 1, in main
    work()
    ^^^^^^
{last}
 SQLSTATE: 38000
"""
    assert command.run(fails_with(RuntimeError(text)), arguments()) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {sentence}"


def test_a_bug_keeps_its_traceback_and_ends_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(lambda _: {"share": 1 // 0}, arguments()) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("Traceback")
    assert told[-1].startswith("error: ZeroDivisionError: ")


@pytest.mark.parametrize(("body", "code"), [("return {}", 0), ("raise UserError('no')", 2), ("return 1 / 0", 1)])
def test_the_exit_code_of_a_process_is_the_jobs(body: str, code: int) -> None:
    script = (
        "import sys\nfrom windrow import command\nfrom windrow.errors import UserError\n"
        f"def job(arguments):\n    {body}\n"
        "sys.exit(command.run(job, command.parser('').parse_args(['--experiment', 'page.yaml'])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY / "jobs", check=False
    )
    assert done.returncode == code
    if code:
        assert done.stderr.splitlines()[-1] in {"error: no", "error: ZeroDivisionError: division by zero"}


def test_the_result_is_written_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "result.json"
    assert command.run(lambda _: {"b": 1, "a": "ü"}, arguments("--result", str(target))) == 0
    assert json.loads(target.read_text(encoding="utf-8")) == {"a": "ü", "b": 1}
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [UserError("mend it"), OSError("disk")])
def test_a_job_that_fails_leaves_the_earlier_result(error: Exception, tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("earlier")
    command.run(fails_with(error), arguments("--result", str(target)))
    assert target.read_text() == "earlier"


def test_a_result_that_can_not_be_written_is_found_before_the_job_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    started: list[bool] = []

    def job(_: argparse.Namespace) -> dict[str, Any]:
        started.append(True)
        return {}

    assert command.run(job, arguments("--result", str(tmp_path / "file" / "result.json"))) == 2
    assert "must be in a folder that can be made" in capsys.readouterr().err.splitlines()[-1]
    assert command.run(job, arguments("--result", str(tmp_path))) == 2
    assert "must be a file; got a folder; add a file name" in capsys.readouterr().err.splitlines()[-1]
    assert not started


def told_to_a_stranger(path: Path) -> str:
    """What check_writable says to somebody who is not root, for root may write anywhere."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            files.check_writable(path)
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as lines:
        return lines.read()


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder that everybody may enter; those of pytest are its user's."""
    folder = Path(tempfile.mkdtemp(prefix="windrow-"))
    folder.chmod(0o755)
    yield folder
    for each in folder.iterdir():
        each.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (0o777, ""),
        (0o555, "must be in a folder that can be written; got no permission; choose another path"),
        (0o600, "must be in a folder that can be made; Permission denied; choose another path"),
    ],
)
def test_a_folder_without_permission_is_found_before_the_job_runs(outside: Path, mode: int, reason: str) -> None:
    target = outside / "of somebody" / "result.json"
    target.parent.mkdir()
    target.parent.chmod(mode)
    assert told_to_a_stranger(target) == (f"UserError: {target} {reason}" if reason else "")


def test_a_write_that_fails_half_way_leaves_neither_half_nor_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "result.json"
    target.write_text("earlier")

    def cut_off(path: Path, text: str, encoding: str) -> int:
        path.write_bytes(text.encode(encoding)[:5])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", cut_off)
    with pytest.raises(OSError, match="No space left"):
        files.write_json(target, {"key": "value"})
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"earlier"]


def test_a_reader_never_sees_half_a_result(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    values = {str(number): "x" * 100 for number in range(2_000)}
    files.write_json(target, values)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            files.write_json(target, values)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(json.loads(target.read_text()) == values for _ in range(50))
    finally:
        stop.set()
        writer.join()


def test_numpys_numbers_become_numbers_and_paths_and_dates_text(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    files.write_json(
        target,
        {
            "float32": np.float32(0.5),
            "float64": np.float64(0.25),
            "int64": np.int64(7),
            "bool": np.bool_(True),
            "array": np.arange(3),
            "path": Path("a/b"),
            "time": datetime(2026, 1, 1, tzinfo=UTC),
        },
    )
    assert json.loads(target.read_text()) == {
        "float32": 0.5,
        "float64": 0.25,
        "int64": 7,
        "bool": True,
        "array": [0, 1, 2],
        "path": "a/b",
        "time": "2026-01-01 00:00:00+00:00",
    }


def test_the_printed_result_is_the_written_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "result.json"
    assert command.run(lambda _: {"accuracy": np.float32(0.5)}, arguments("--result", str(target))) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(target.read_text()) == {"accuracy": 0.5}


@pytest.mark.parametrize("text", ["2026-13-01", "yesterday", "", "20261125", "2026-W48-3", " 2026-11-25"])
def test_a_day_is_a_day_of_the_calendar_in_one_spelling(text: str) -> None:
    assert command.day("2026-11-25") == date(2026, 11, 25)
    with pytest.raises(argparse.ArgumentTypeError, match=r"a day as YYYY-MM-DD; got .*; for example 2026-11-25"):
        command.day(text)


@pytest.mark.parametrize(("wanted", "code"), [("fail", 2), ("skip", 0), (None, 2)])
def test_a_job_without_a_champion_ends_as_it_is_told_to(
    wanted: str | None, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments()
    if wanted:
        given.without_champion = wanted
    assert command.run(fails_with(NoChampionError("no champion yet")), given) == code
    printed = capsys.readouterr()
    if code == 0:
        assert json.loads(printed.out) == {"skipped": "no champion yet"}
    else:
        assert printed.err == "error: no champion yet\n"


def test_another_error_is_none_of_a_missing_champion() -> None:
    given = arguments()
    given.without_champion = "skip"
    assert command.run(fails_with(UserError("a page")), given) == 2


STOPPED = """
import os, signal, sys, time
from windrow.command import when_stopped
with when_stopped(lambda: print("ended its runs", flush=True)):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
print("went on")
"""


def test_a_job_that_is_stopped_does_what_is_left_to_do_and_ends_at_once() -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "jobs")}
    done = subprocess.run([sys.executable, "-c", STOPPED], env=environment, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (143, "ended its runs\n")


def test_outside_the_block_and_in_another_thread_a_stop_is_what_it_was() -> None:
    import signal

    before = signal.getsignal(signal.SIGTERM)
    with command.when_stopped(lambda: None):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    entered: list[bool] = []

    def aside() -> None:
        with command.when_stopped(lambda: None):
            entered.append(signal.getsignal(signal.SIGTERM) is before)

    thread = threading.Thread(target=aside)
    thread.start()
    thread.join()
    assert entered == [True]


@pytest.mark.parametrize(("label", "kept"), [("Schuhgröße 鞋", True), ("bad \udcff name", False)])
def test_a_result_reads_as_it_was_written_and_what_is_no_text_is_escaped(
    label: str, kept: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "result.json"
    assert command.run(lambda _: {"label": label}, arguments("--result", str(file))) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads(file.read_text()) == {"label": label}
    assert (label in file.read_text()) is (label in printed) is kept


def test_a_terminal_that_lacks_the_letters_gets_escapes() -> None:
    assert files.json_text({"label": "größe"}, encoding="ascii") == '{"label": "gr\\u00f6\\u00dfe"}'
