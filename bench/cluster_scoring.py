"""Scoring on a cluster: many small images over 1, 2 and 4 workers, with a network that sleeps instead of computing.

It runs in a container of the stack (docs/clusters.md has the command), on workers of one core each:

    python bench/cluster_scoring.py --workers 1,2,4 --images 100000

Everything is the real job but the network: it is loaded, and checked by its canaries, and then each image sleeps its
time (--milliseconds, a recorded one). So two cores can show what a cluster of several would do, as far as fetching,
decoding and the table's rows leave them room.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

import fetch
import known
import report
import windrow_job
from scoring import start_server
from windrow import paths

PAGE = """\
name: known
space: {learning_rate: {type: float, low: 0.001, high: 0.01}}
scoring: {feed: none, allow_addresses: [198.18.0.0/15], host_concurrency: 256, host_rate: null}
"""
"""The name is that of known.py's champion; the addresses are those of the stack's network."""


def main() -> int:
    """Measure each number of workers, then write the table."""
    options = parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ["WINDROW_HOME"] = str(windrow_job.fresh_folder("cluster_scoring"))
    known.make_champion(paths.home())
    address = start_server([fetch.image()], 0, socket.gethostbyname(socket.gethostname()))
    rows = [measure(options, workers, address) for workers in options.workers]
    fewest = min(rows, key=lambda row: row["workers"])
    for row in rows:
        row["speed_up"] = round(row["images_per_second"] / fewest["images_per_second"] * fewest["workers"], 2)
    values = {"machine": report.machine(2), "images": options.images, "milliseconds": options.milliseconds}
    keys = ("workers", "images_per_second", "speed_up", "pass_seconds", "seconds")
    table = report.table([key.replace("_", " ") for key in keys], [[row[key] for key in keys] for row in rows])
    report.save(options.out, {**values, "rows": rows}, table)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--master", default="spark://spark-master:7077", metavar="URL", help="Spark's (default the stack's)")
    add("--workers", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2, 4], metavar="N,N,...")
    add("--images", type=int, default=100_000, metavar="N", help="images a run (default 100000)")
    add("--milliseconds", type=float, default=3.9, metavar="T", help="an image's time in the network (default 3.9)")
    add("--feeds", type=Path, default=Path("/var/lib/windrow/feeds"), metavar="DIR", help="executors read it too")
    add("--tables", type=Path, default=Path("/var/lib/windrow/tables"), metavar="DIR", help="executors write to it")
    out = Path("/tmp/cluster_scoring.json")  # noqa: S108 - in a container
    add("--out", type=Path, default=out, metavar="FILE", help="JSON to write")
    return parser.parse_args()


def measure(options: argparse.Namespace, workers: int, address: str) -> dict[str, Any]:
    """One run over so many workers; the rate is that of the pass, without start and search."""
    folder = windrow_job.fresh_folder("cluster_scoring", str(workers))
    page, result, mark = folder / "known.yaml", folder / "result.json", f"{workers}-{os.getpid()}"
    page.write_text(PAGE)
    feed, rows = options.feeds / f"cluster-{mark}.txt", options.tables / f"cluster-{mark}"
    feed.write_text("".join(f"{address}/{mark}-{number}.jpg\n" for number in range(options.images)))
    script = Path(__file__).with_name("windrow_scoring_replay.py")
    command = [
        *("spark-submit", "--master", options.master, "--driver-memory", "640m"),
        *("--conf", f"spark.cores.max={workers}", "--conf", "spark.executor.memory=512m"),
        *(str(script), str(options.milliseconds), "--experiment", str(page), "--feed", str(feed)),
        *("--table", str(rows), "--result", str(result)),
    ]
    began = time.monotonic()
    try:
        windrow_job.run(command, folder / "log", dict(os.environ), timeout=3600)
    finally:
        feed.unlink()
        shutil.rmtree(rows, ignore_errors=True)
    told = json.loads(result.read_text())
    if told["statuses"] != {"ok": options.images}:
        raise SystemExit(f"every image must be labelled; got {told['statuses']}")
    row: dict[str, Any] = {"workers": workers, "images_per_second": told["images_per_second"]}
    row |= {"pass_seconds": round(options.images / told["images_per_second"], 1)}
    row |= {"seconds": round(time.monotonic() - began, 1)}
    print(json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
