"""The time that recording in MLflow adds to a sweep: the same sweep without it, into a file, and to a server.

    var/bench/venv/bin/python bench/logging_cost.py
    var/bench/venv/bin/python bench/logging_cost.py --repeats 5 --mean 0.5

The trials sleep as long as recorded ones took (sweeps.py), scaled to --mean seconds, with --epochs points a curve;
ledger, sampler, the line to the driver and MLflow are Windrow's own (windrow_replay.py). Seconds are from the first
trial handed out until everything is logged. The ways take turns, and a ratio is that of one turn. The server shares the
cores with the sweep.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import arguments
import report
import simulate
import windrow_job

WITHOUT, FILE, SERVER = "without MLflow", "MLflow, embedded file", "MLflow, server on the same cores"
WAYS = (WITHOUT, FILE, SERVER)


def main() -> int:
    """Measure in turns, then write the table."""
    options = parse_args()
    machine = report.machine(options.slots)
    durations = simulate.scaled(simulate.draw(simulate.read_durations(options.durations), options.trials), options.mean)
    with server(windrow_job.fresh_folder("logging_cost", "server")) as address:
        more = {WITHOUT: (), FILE: ("--mlflow",), SERVER: ("--mlflow", "--server", address)}
        runs = [
            measure(way, turn, durations, options, more[way]) for turn in range(options.repeats) for way in ways(turn)
        ]
    rows = summarize(runs)
    values = {"machine": machine, "trials": len(durations), "epochs": options.epochs, "rows": rows, "runs": runs}
    columns = ["sweep", "seconds, median", "of", "ratio, median", "ratios"]
    keys = ("way", "seconds", "turns", "ratio", "ratios")
    report.save(options.out, values, report.table(columns, [[row[key] for key in keys] for row in rows]))
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = arguments.parser(__doc__, "logging_cost.json", timeout=900)
    parser.add_argument("--trials", type=int, default=60, metavar="N", help="trials (default 60)")
    parser.add_argument("--mean", type=float, default=1.0, metavar="S", help="mean seconds a trial (default 1)")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="points on a trial's curve (default 10)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="turns (default 3)")
    source = report.RESULTS / "sweeps.json"
    parser.add_argument("--durations", type=Path, default=source, metavar="FILE", help="what sweeps.py wrote")
    return parser.parse_args()


def ways(turn: int) -> list[str]:
    """Every way; every other turn in the other order, so that a machine that gets busier favours none."""
    return list(WAYS) if turn % 2 == 0 else list(WAYS)[::-1]


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of an MLflow server with its files in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")),
    ]
    variables = windrow_job.environment(folder) | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # as on a laptop
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=variables, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Return once `url` answers."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310  our own address
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(
        f"MLflow must answer at {url} within {seconds:.0f} s; see the log in var/bench/logging_cost/server"
    )


def measure(
    way: str, turn: int, durations: list[float], options: argparse.Namespace, own: tuple[str, ...]
) -> dict[str, Any]:
    """Seconds of one sweep."""
    folder = windrow_job.fresh_folder("logging_cost", f"{WAYS.index(way)}_{turn}")
    file = folder / "durations.json"
    file.write_text(json.dumps(durations))
    more = (*own, "--epochs", str(options.epochs))
    known = windrow_job.replay(f"local[{options.slots}]", folder, file, options.slots, options.timeout, *more)
    return {"way": way, "turn": turn, "seconds": round(known["ended"] - known["began"], 2)}


def summarize(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a way: median seconds, and what it takes over the one without MLflow of the same turn."""
    seconds = {way: [run["seconds"] for run in runs if run["way"] == way] for way in WAYS}
    by_turn = {(run["way"], run["turn"]): run["seconds"] for run in runs}
    rows = []
    for way, measured in seconds.items():
        ratios = [round(by_turn[way, turn] / by_turn[WITHOUT, turn], 3) for turn in range(len(measured))]
        rows.append(
            {
                "way": way,
                "seconds": round(statistics.median(measured), 2),
                "turns": len(measured),
                "ratio": round(statistics.median(ratios), 3),
                "ratios": ", ".join(map(str, ratios)),
            }
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
