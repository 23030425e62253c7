"""From a folder of photographs to a champion with a backbone, job by job, and how fast and at what precision it labels.

    $bench bench/champion_scoring.py --photos /data/hymenoptera --urls 500,8000

The folder has train/CLASS/ and test/CLASS/; the page is that of docs/transfer.md. The jobs are those of the train DAG,
one after another, each with Spark's start and without Airflow. The champion then labels photographs of the folder over
HTTP from a process on the same cores, each under a URL of its own, as they are and at int8 (calibrated and compared on
test/). "Share" is that of what the cores could do if they only decoded and ran the network, which the job measures.
"Steady" is the rate of the URLs between the two runs: it has no start in it. A run before both converts the network.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import report
import scoring
import windrow_job

LATENCY = 0.05
"""Seconds that the server waits before it answers."""


def main() -> int:
    """Run the jobs, and print a table for each question."""
    options = parse_args()
    machine = report.machine(options.slots)
    folder = windrow_job.fresh_folder("champion_scoring")
    files = [path for path in sorted(options.photos.glob("*/*/*")) if path.suffix.lower() in (".jpg", ".jpeg")]
    address = scoring.start_server([path.read_bytes() for path in files], LATENCY)
    page = write_page(folder, options.photos)
    seconds = champion(folder, page, options.slots)
    rows = []
    for lower in (None, {"type": "int8", "images": str(options.photos.absolute() / "test"), "same_labels": 0.5}):
        page = write_page(folder, options.photos, **({"precision": lower} if lower else {}))
        label(folder, page, address, options.urls[0], options.slots)  # converts the network once
        few, many = (label(folder, page, address, count, options.slots) for count in options.urls)
        rows += [few, many, between(few, many)]
    columns = list(rows[0])
    table = report.table(["job", "seconds"], [[name, round(spent, 1)] for name, spent in seconds.items()])
    table += "\n" + report.table(columns, [[row[column] for column in columns] for row in rows])
    report.save(options.out, {"machine": machine, "seconds": seconds, "scoring": rows}, table)
    print(f"from the folder to the champion: {sum(seconds.values()):.0f} s without Airflow", file=sys.stderr)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, type=Path, metavar="DIR", help="a folder with train/ and test/")
    parser.add_argument("--urls", default=(500, 8000), type=scoring.pair, metavar="FEW,MANY", help="URLs per run")
    parser.add_argument("--slots", default=2, type=int, help="Spark's slots (2)")
    parser.add_argument("--out", type=Path, default=report.RESULTS / "champion_scoring.json", metavar="FILE")
    return parser.parse_args()


def write_page(folder: Path, photos: Path, **more: Any) -> Path:
    """The page of docs/transfer.md, which scores what the server here serves."""
    return windrow_job.write_page(
        folder / "photos.yaml",
        dataset={"source": str(photos.absolute())},
        network={"backbone": "lite0"},
        sweep={"trials": 60, "epochs": 20},
        promotion={"seeds": 5},
        scoring={
            **{"feed": "feeds/*.txt", "allow_addresses": ["127.0.0.0/8"]},
            **{"host_concurrency": 256, "host_rate": None, **more},
        },
    )


def champion(folder: Path, page: Path, slots: int) -> dict[str, float]:
    """Run the jobs of the train DAG; the seconds of each."""
    dataset, study = ("--dataset", folder / "dataset"), ("--study", folder / "study")
    jobs: dict[str, tuple[object, ...]] = {
        "prepare_dataset": ("--out", folder / "dataset"),
        "embed_images": dataset,
        "sweep": (*dataset, *study),
        "promote_best": (*dataset, *study),
    }
    seconds = {}
    for name, arguments in jobs.items():
        started = time.monotonic()
        result = windrow_job.submit(
            windrow_job.REPOSITORY, name, folder, slots, "--experiment", page, *arguments, timeout=900
        )
        seconds[name] = time.monotonic() - started
        print(name, round(seconds[name], 1), json.dumps(result)[:2000], file=sys.stderr, flush=True)
    return seconds


def label(folder: Path, page: Path, address: str, count: int, slots: int) -> dict[str, Any]:
    """Label so many URLs that no run before has seen; a row of the table."""
    feeds = folder / "home" / "feeds"
    feeds.mkdir(parents=True, exist_ok=True)
    lines = [f"{address}/{time.monotonic_ns()}-{number}.jpg" for number in range(count)]
    (feeds / "urls.txt").write_text("\n".join(lines) + "\n")
    started = time.monotonic()
    found = windrow_job.submit(windrow_job.REPOSITORY, "score_images", folder, slots, "--experiment", page)
    print("score_images", json.dumps(found)[:3000], file=sys.stderr, flush=True)
    loss = found.get("precision") or {}
    return {
        "precision": loss.get("type", "float32"),
        "URLs": count,
        "job, s": round(time.monotonic() - started, 1),
        "images a second": found["images_per_second"],
        "ceiling": found["ceiling_images_per_second"],
        "share": found["share_of_ceiling"],
        "labels kept": loss.get("same_labels"),
        "of images": loss.get("images"),
    }


def between(few: dict[str, Any], many: dict[str, Any]) -> dict[str, Any]:
    """The steady rate: that of the URLs between the shorter and the longer run, with no start in it."""
    rate = (many["URLs"] - few["URLs"]) / (many["job, s"] - few["job, s"])
    steady = {"URLs": "steady", "job, s": None, "images a second": round(rate, 1)}
    return {**many, **steady, "share": round(rate / many["ceiling"], 3)}


if __name__ == "__main__":
    sys.exit(main())
