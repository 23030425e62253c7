"""Features of photographs: how near embed_images.py comes to what the cores can do, and what a second run costs.

    python bench/features.py --photos /data/trashnet

The folder has train/CLASS/ and test/CLASS/. The ceiling is measured alone: one process per core computes views of
prepared photographs with the job's own function, after its network is loaded, and nothing else runs. Then the jobs run
by spark-submit: on all photographs but ADDED of train/, once more on the same, and on all of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

import report
import windrow_job
from windrow.data import features, shards
from windrow.data.features import embed_worker
from windrow.model.backbone import Backbone

ADDED = 1000
SECONDS = 15.0  # of measuring the ceiling


def main() -> int:
    """Run the jobs, measure the ceiling, and write the table."""
    options = parse_args()
    machine = report.machine(options.slots)
    folder = windrow_job.fresh_folder("features")
    photos = folder / "photos"
    files = sorted(path.relative_to(options.photos) for path in options.photos.glob("*/*/*"))
    added = [path for path in files if path.parts[0] == "train"][:: len(files) // ADDED][:ADDED]
    page = windrow_job.write_page(
        folder / "photos.yaml",
        dataset={"source": str(photos), "fit": "crop"},
        network={"backbone": options.backbone, "parameters": {"views": options.views}},
        space=windrow_job.LEARNING_RATE,
    )
    link(options.photos, photos, [path for path in files if path not in set(added)])
    rows = [run("all but 1,000", page, folder, options.slots), run("the same again", page, folder, options.slots)]
    link(options.photos, photos, added)
    rows.append(run("1,000 added", page, folder, options.slots))
    ceiling = alone(folder / "dataset", options.slots, options.views)
    for row in rows:
        row["share"] = round(row["a second"] / ceiling, 3) if row["a second"] else None
    columns = list(rows[0])
    table = report.table(columns, [[row[column] for column in columns] for row in rows])
    report.save(options.out, {"machine": machine, "ceiling": round(ceiling, 1), "rows": rows}, table)
    print(f"ceiling, measured alone: {ceiling:.1f} views a second", file=sys.stderr)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, type=Path, metavar="DIR", help="a folder with train/ and test/")
    parser.add_argument("--backbone", default="lite0", help="network.backbone (lite0)")
    parser.add_argument("--views", default=6, type=int, help="views of a training image (6)")
    parser.add_argument("--slots", default=2, type=int, help="Spark's slots (2)")
    parser.add_argument("--out", type=Path, default=report.RESULTS / "features.json", metavar="FILE")
    return parser.parse_args()


def link(source: Path, target: Path, files: list[Path]) -> None:
    """Make links to photographs."""
    for file in files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        (target / file).symlink_to(source.resolve() / file)


def run(name: str, page: Path, folder: Path, slots: int) -> dict[str, Any]:
    """Prepare and embed; a row of the table."""
    prepared = windrow_job.submit(
        windrow_job.REPOSITORY, "prepare_dataset", folder, slots, "--experiment", page, "--out", folder / "dataset"
    )
    started = time.monotonic()
    found = windrow_job.submit(
        windrow_job.REPOSITORY, "embed_images", folder, slots, "--experiment", page, "--dataset", folder / "dataset"
    )
    row = {
        "run": name,
        "images": sum(prepared["splits"].values()),
        "training": prepared["splits"]["train"],
        "views computed": found["computed"],
        "job, s": round(time.monotonic() - started, 1),
        "a second": found["images_per_second"],
        "share of the workers' own pace": found["share_of_ceiling"],
    }
    print(row, file=sys.stderr, flush=True)
    return row


def alone(dataset: Path, slots: int, views: int) -> float:
    """Views a second that the cores compute when nothing else runs: the sum over one process per slot."""
    context = multiprocessing.get_context("spawn")
    backbone = features.read(dataset).backbone
    with context.Pool(slots) as pool:
        return float(sum(pool.starmap(_pace, [(dataset, backbone, views, number) for number in range(slots)], 1)))


def _pace(dataset: Path, backbone: Backbone, views: int, number: int) -> float:
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[number]})
    network = embed_worker.load(backbone, backbone.file, 1)
    images, _ = shards.load_split(dataset, "train")
    rows = np.arange(8 * embed_worker.BATCH)
    chosen = (rows // views + number).tolist(), (rows % views).tolist()
    embed_worker.compute(network, embed_worker.drawn(images, *chosen))
    started, done = time.monotonic(), 0
    while time.monotonic() - started < SECONDS:
        done += len(embed_worker.compute(network, embed_worker.drawn(images, *chosen)))
    return done / (time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
