"""The cost of a scoring run with few or no new URLs: score_images.py on tables with millions of known URLs.

    python bench/known.py --known 10000000 --feed 1000000 --new 1000 [--out FILE]

A table with that many rows is made first, and a feed's file of known URLs that it has read. Then real jobs run on
local[2], one after another: a night whose feed has not changed; one with a new file of --feed URLs, all known but
--new; and one for each of --growth with so many new URLs in a file of their own, which shows the cost a new URL. New
URLs are 8x8 PNGs from a server on this machine, and the network is a stub: one dense layer, of the run's own registry.
Memory is that of all processes of the job together, in proportion where they share pages. Core-seconds are less
disturbed by other work on the machine than seconds are.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import report
import scoring as photographs
import windrow_job
from windrow.laptop.peak_memory import PeakMemory
from windrow.scoring.feed import feed_marks
from windrow.scoring.table import prediction
from windrow.scoring.table.predictions_table import PredictionTable

PAGE = """\
name: known
space: {learning_rate: {type: float, low: 0.001, high: 0.01}}
scoring: {feed: feeds/*.txt, allow_addresses: [127.0.0.0/8], host_concurrency: 128, host_rate: null}
"""
ROWS_A_FILE = 500_000


def main() -> None:
    """Measure, print, write."""
    options = parse_args()
    with tempfile.TemporaryDirectory(prefix="windrow-known-") as name:
        home = Path(name)
        os.environ["WINDROW_HOME"] = str(home)
        (home / "known.yaml").write_text(PAGE)
        began = time.monotonic()
        make_table(home, options.known)
        make_champion(home)
        print(f"made {options.known:,} rows in {time.monotonic() - began:.0f} s", flush=True)
        rows = list(measure(home, options))
    values = {"machine": report.machine(2), "rows": rows}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(values, indent=1) + "\n")


def parse_args() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--known", type=int, default=10_000_000, help="rows of the table (default: 10 million)")
    parser.add_argument("--feed", type=int, default=1_000_000, help="URLs in the new file (default: a million)")
    parser.add_argument("--new", type=int, default=1000, help="new ones among them (default: 1000)")
    parser.add_argument(
        "--growth", type=int, nargs="*", default=(1000, 10_000, 100_000, 1_000_000), help="new URLs alone"
    )
    parser.add_argument("--out", type=Path, default=report.RESULTS / "known.json", metavar="FILE", help="JSON to write")
    return parser.parse_args()


def known_url(number: int) -> str:
    """A URL that the table has a row for."""
    return f"http://images-{number % 1000}.example.com/photographs/{number}.jpg"


def make_table(home: Path, count: int) -> None:
    """A table with `count` rows, as after a year of nights, and the feed's file that they came from."""
    table = PredictionTable(home / "tables" / "known")
    (home / "feeds").mkdir()
    feed = home / "feeds" / "known.txt"
    with table.staged("made") as folder, feed.open("w") as lines:
        folder.mkdir()
        for start in range(0, count, ROWS_A_FILE):
            urls = [known_url(number) for number in range(start, min(start + ROWS_A_FILE, count))]
            lines.write("\n".join(urls) + "\n")
            pq.write_table(as_rows(urls), folder / f"part-{start}.parquet")
        lines.flush()
        table.commit(folder, "made", {}, marks=feed_marks.news([feed], {})[1])


def as_rows(urls: list[str]) -> pa.Table:
    """Rows of labelled URLs."""
    count = len(urls)
    values: dict[str, list[Any]] = {
        "url": urls,
        "url_key": [sha256(url.encode()).hexdigest() for url in urls],
        "content_hash": [sha256(url.encode() + b".").hexdigest() for url in urls],
        "score": [(number * 7919 % 10_000) / 10_000 for number in range(count)],
    }
    same = {"status": "ok", "attempt": 1, "label": "dark", "label_id": 0, "model_name": "known", "model_version": "1"}
    values |= {name: [value] * count for name, value in same.items()}
    schema = prediction.SCHEMA
    columns = [pa.array(values.get(item.name, [None] * count), item.type) for item in schema]
    return pa.table(columns, schema=schema)


def make_champion(home: Path) -> None:
    """known@champion: one dense layer in place of a network."""
    import keras
    import mlflow
    from windrow.tracking.server import connect

    layers = [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    client = connect()
    experiment = client.create_experiment("known", artifact_location=(home / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment):
        facts = {"windrow": {"shape": [8, 8, 1], "labels": ["dark", "bright"]}}
        model = keras.Sequential(layers)
        logged = mlflow.tensorflow.log_model(model, name="n", pip_requirements=["tensorflow"], metadata=facts)
    client.create_registered_model("known")
    client.create_model_version("known", logged.model_uri)
    client.set_registered_model_alias("known", "champion", "1")


def measure(home: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each night."""
    from PIL import Image

    body = io.BytesIO()
    Image.new("L", (8, 8), 7).save(body, "PNG")
    address = photographs.start_server([body.getvalue()], latency=0)
    yield night(home, "nothing new", [])
    step = max(1, options.known // options.feed)
    urls = [known_url(number) for number in range(0, options.known, step)][: options.feed - options.new]
    urls += [f"{address}/few-{number}.jpg" for number in range(options.new)]
    yield night(home, f"{options.new:,} new among {options.feed:,} read", urls)
    for count in options.growth:
        yield night(home, f"{count:,} new", [f"{address}/{count}-{number}.jpg" for number in range(count)])


def night(home: Path, name: str, urls: list[str]) -> dict[str, Any]:
    """Run the job after a file with these URLs has arrived; return its seconds, its memory and its result."""
    if urls:
        (home / "feeds" / f"{len(list((home / 'feeds').iterdir()))}.txt").write_text("\n".join(urls) + "\n")
    jobs = Path(windrow_job.REPOSITORY) / "jobs"
    command = [
        *(str(Path(sys.executable).with_name("spark-submit")), "--master", "local[2]", "--driver-memory", "1g"),
        *(str(jobs / "score_images.py"), "--experiment", str(home / "known.yaml"), "--result", str(home / "result")),
    ]
    variables = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    log = home / "log"
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("w") as output:
        job = psutil.Popen(command, env=variables, stdout=output, stderr=output)
        with PeakMemory(lambda: tree(job), seconds=0.5) as memory:
            code = job.wait()
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        sys.exit(log.read_text())
    result = json.loads((home / "result").read_text())
    keys = ("urls", "new", "already_scored", "rows", "images_per_second")
    cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    row: dict[str, Any] = {"night": name, "seconds": round(seconds, 1), "core_seconds": round(cores, 1)}
    row |= {"mebibytes": memory.bytes >> 20, **{key: result[key] for key in keys}}
    print(json.dumps(row), flush=True)
    return row


def tree(job: psutil.Process) -> list[psutil.Process]:
    """A job's processes; none once it has ended."""
    try:
        return [job, *job.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


if __name__ == "__main__":
    main()
