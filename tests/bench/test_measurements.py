"""What bench/ computes from what it measured, and its command lines."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from harness.waiting import wait_for

BENCH = Path(__file__).resolve().parents[2] / "bench"
Script = Callable[[str], ModuleType]
COMMANDS = sorted(path for path in BENCH.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def helps() -> dict[str, list[object]]:
    """Exit code and output of every script's --help, all in one fresh Python."""
    program = (
        "import contextlib, io, json, runpy, sys\n"
        "found = {}\n"
        "for path in sys.argv[1:]:\n"
        "    output, sys.argv = io.StringIO(), [path, '--help']\n"
        "    with contextlib.redirect_stdout(output):\n"
        "        try: runpy.run_path(path, run_name='__main__')\n"
        "        except SystemExit as end: found[path] = [end.code or 0, output.getvalue()]\n"
        "print(json.dumps(found))\n"
    )
    command = [sys.executable, "-c", program, *map(str, COMMANDS)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(BENCH)}
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[object]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_every_script_says_what_it_takes(helps: dict[str, list[object]], path: Path) -> None:
    code, output = helps[str(path)]
    assert code == 0
    assert f"usage: {path.name}" in str(output)


@pytest.mark.faults
def test_a_few_trials_that_do_nothing_are_measured_from_the_command_line_to_the_file(tmp_path: Path) -> None:
    out = tmp_path / "overhead.json"
    command = [sys.executable, str(BENCH / "overhead.py"), "--tools", "windrow", "--trials", "3", "--slots", "2"]
    variables = {**os.environ, "BENCH_WORK": str(tmp_path / "work"), "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run([*command, "--out", str(out)], env=variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert [(row["tool"], row["milliseconds"] > 0) for row in found["rows"]] == [("windrow", True)]
    assert found["trials"] == 3


def test_the_points_are_the_same_on_every_machine_and_a_longer_list_starts_with_a_shorter_one(script: Script) -> None:
    points = script("points")
    assert points.draw(3) == points.draw(40)[:3]
    assert points.draw(2)[0] == {"units": 81, "learning_rate": 0.00324142, "seed": 0}
    assert len({point["units"] for point in points.draw(40)}) == 40, "each has a width of its own"
    low, high = points.SIZES["dense"]["units"]
    assert sorted(point["units"] for point in points.draw(high - low + 1)) == list(range(low, high + 1))
    small = points.draw(12, "cnn")
    assert small[0] == {"filters": 11, "units": 68, "learning_rate": 0.00168801, "seed": 0}
    assert len({point["filters"] for point in small}) == len({point["units"] for point in small}) == 12


def test_the_overhead_leaves_the_warm_up_out(script: Script) -> None:
    overhead = script("overhead")
    slow_start = [float(number) for number in range(overhead.WARM_UP)]
    last = slow_start[-1]
    assert overhead.warm_seconds([*slow_start, last + 0.5, last + 1.5, last + 1.0]) == pytest.approx(0.5)


def run_of(tool: str, total: float, repeat: int = 0, **more: object) -> dict[str, object]:
    return {"tool": tool, "repeat": repeat, "total": total, "work": total - 5, "accuracies": {0: 0.9, 1: 0.8}, **more}


def test_a_tool_counts_with_its_median_and_with_the_median_of_its_ratios_to_windrow_in_turn(script: Script) -> None:
    ours, ray = (30.0, 40.0, 105.0), (60.0, 90.0, 205.0)
    runs = [run_of("ray", total, repeat) for repeat, total in enumerate(ray)]
    runs += [run_of("windrow", total, repeat) for repeat, total in enumerate(ours)]
    rows = script("sweeps").summarize(runs)
    # Not 90 / 40 = 2.25, of two repeats: 60 / 30, 90 / 40 and 205 / 105 are 2, 2.25 and 1.95.
    assert [(row["tool"], row["total"], row["ratio"]) for row in rows] == [("windrow", 40.0, 1.0), ("ray", 90.0, 2.0)]
    assert [(row["work"], row["work_ratio"]) for row in rows] == [(35.0, 1.0), (85.0, 2.2)]
    assert (rows[0]["points"], rows[0]["mean"], rows[0]["best"]) == (2, 0.85, 0.9)


def test_a_tool_that_failed_has_no_row_and_a_turn_without_windrow_has_no_ratio(script: Script) -> None:
    runs = [{"tool": "windrow", "repeat": 0, "error": "late"}, run_of("ray", 60.0)]
    (row,) = script("sweeps").summarize(runs)
    assert (row["tool"], row["total"], row["ratio"], row["work_ratio"]) == ("ray", 60.0, None, None)
    rows = script("sweeps").summarize([*runs, run_of("ray", 80.0, 1), run_of("windrow", 40.0, 1)])
    assert [(row["tool"], row["total"], row["ratio"]) for row in rows] == [("windrow", 40.0, 1.0), ("ray", 70.0, 2.0)]


def test_a_trial_without_a_value_is_not_in_the_mean(script: Script) -> None:
    (row,) = script("sweeps").summarize([run_of("windrow", 30.0, accuracies={0: 0.9, 1: None})])
    assert (row["points"], row["mean"]) == (1, 0.9)


def test_a_start_is_as_late_as_the_median_of_its_turns_and_its_steps_stand_in_order(script: Script) -> None:
    start, job = script("start"), script("start_job")
    turns = [
        {
            start.NAIVE: {job.SESSION: session, job.WORKERS: 6.0 + late, start.ENDED: 7.0},
            start.NOW: {start.ENDED: 12.0, start.TRAINED: 9.0 + 2 * late, job.WORKERS: 7.0, job.SESSION: session + 1},
        }
        for session, late in ((2.0, 0.0), (3.0, 5.0), (2.5, 1.0))
    ]
    assert start.lead(turns) == {"behind": [3.0, 8.0, 4.0], "median_behind": 4.0}
    assert start.rows(turns, [start.NAIVE, start.NOW]) == [
        [job.SESSION, 2.5, 3.5],
        [job.WORKERS, 7.0, 7.0],
        [start.TRAINED, None, 11.0],
        [start.ENDED, 7.0, 12.0],
    ]


def test_a_step_is_noted_when_its_function_returns_or_its_block_is_entered(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = script("start_job")
    (tmp_path / "timed.py").write_text(
        "from contextlib import contextmanager\n"
        "@contextmanager\ndef opened(noted):\n    assert not noted\n    yield noted\n"
        "def work(noted):\n    assert not noted\n    return len(noted)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(job, "stamps", {})
    monkeypatch.setattr(job, "STEPS", {"timed": {"opened": job.SESSION, "work": "work"}})
    monkeypatch.setattr(sys, "meta_path", [job.Finder(), *sys.meta_path])
    timed = importlib.import_module("timed")
    block = timed.opened(job.stamps)
    assert not job.stamps
    with block as noted:
        assert [*noted] == [job.SESSION]
    job.stamps.clear()
    assert timed.work(job.stamps) == 0
    assert [*job.stamps] == ["work"]
    del sys.modules["timed"]


def trial(number: int, epochs: int, accuracy: float, complete: bool = True) -> dict[str, object]:
    return {"number": number, "epochs": epochs, "accuracy": accuracy, "complete": complete}


def test_only_trials_that_were_trained_to_the_end_can_be_the_best_so_far(script: Script) -> None:
    ended = [trial(0, 9, 0.95), trial(1, 1, 0.99, complete=False), trial(2, 9, 0.94), trial(3, 9, 0.97)]
    assert script("pruning").best_so_far(ended) == [(9, 0.95), (10, 0.95), (19, 0.95), (28, 0.97)]


def test_the_pruned_champion_is_looked_up_in_the_full_sweep(script: Script) -> None:
    full = {
        "pruner": "none",
        "result": {"best_trial": 1, "best_value": 0.98, "seconds": 100.0},
        "trials": [trial(0, 9, 0.97), trial(1, 9, 0.98)],
    }
    pruned = {
        "pruner": "asha",
        "result": {"best_trial": 0, "best_value": 0.971, "seconds": 60.0},
        "trials": [trial(0, 9, 0.971), trial(1, 1, 0.6, complete=False)],
    }
    _, row = script("pruning").compare(full, pruned)
    assert (row["epochs"], row["share"]) == (10, "56%")
    assert (row["champion"], row["accuracy"], row["in_full"], row["regret"]) == ("trial 0", 0.971, 0.97, 0.01)


def test_an_unknown_tool_is_refused_with_the_list_of_the_known(script: Script) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    script("arguments").add_tools(parser, ("windrow", "ray"))
    assert parser.parse_args(["--tools", "ray"]).tools == ("ray",)
    with pytest.raises(argparse.ArgumentError, match="tools are windrow, ray; got rya"):
        parser.parse_args(["--tools", "rya"])


def ended(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_a_peer_that_hangs_is_ended_with_all_that_it_started(script: Script, tmp_path: Path) -> None:
    windrow_job = script("windrow_job")
    code = "import subprocess; child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); child.wait()"
    with pytest.raises(windrow_job.JobError, match="got none after 2 s"):
        windrow_job.run([sys.executable, "-c", code], tmp_path / "log", {"PATH": "/usr/bin:/bin"}, timeout=2)
    child = int((tmp_path / "log").read_text())
    wait_for(lambda: ended(child), otherwise=lambda: f"process {child} lives on")


def test_a_failed_peer_shows_the_end_of_its_log(script: Script, tmp_path: Path) -> None:
    windrow_job = script("windrow_job")
    with pytest.raises(windrow_job.JobError, match="no such tool"):
        windrow_job.run([sys.executable, "-c", "raise SystemExit('no such tool')"], tmp_path / "log", {}, timeout=30)


def test_the_cost_of_logging_is_the_median_of_ratios_within_a_turn(script: Script) -> None:
    cost = script("logging_cost")
    measured = {cost.WITHOUT: [10.0, 20.0, 10.0], cost.FILE: [10.5, 20.2, 12.0], cost.SERVER: [11.0, 22.0, 11.0]}
    runs = [
        {"way": way, "turn": turn, "seconds": seconds}
        for way, all_turns in measured.items()
        for turn, seconds in enumerate(all_turns)
    ]
    rows = {row["way"]: row for row in cost.summarize(runs)}
    assert [rows[way]["ratio"] for way in cost.WAYS] == [1.0, 1.05, 1.1]
    assert rows[cost.FILE]["ratios"] == "1.05, 1.01, 1.2"
    assert rows[cost.FILE]["seconds"] == 12.0


def test_no_way_is_first_in_every_turn(script: Script) -> None:
    cost = script("logging_cost")
    assert cost.ways(0) == cost.ways(1)[::-1] == list(cost.WAYS)


def figures_of(median: float) -> dict[str, object]:
    return {"seeds": {"median": median}, "challenger_against_it": {"interval": {"low": -0.01, "high": 0.02}}}


def test_a_fine_tuning_without_a_good_seed_has_none_in_its_row(script: Script) -> None:
    found = {"chosen": False, "frozen": 0.9, "fine_tuned": None, "difference": None, "error": None}
    row = script("photos").fine_tuned({"fine_tuning": found, "figures": {"challenger": figures_of(0.91)}})
    assert (row["validation, frozen"], row["test, frozen, median"]) == (0.9, 0.91)
    assert {value for name, value in row.items() if "frozen" not in name and name != "chosen"} == {"none"}
    one_seed = {**found, "fine_tuned": 0.92, "difference": 0.02}
    figures = {"challenger": figures_of(0.91), "fine_tuned": figures_of(0.92)}
    row = script("photos").fine_tuned({"fine_tuning": one_seed, "figures": figures})
    assert (row["gain"], row["test, challenger ahead of the other"]) == ("+0.0200 ± none", "-0.0100 to +0.0200")
