"""Compute the features of a prepared data set's images with the page's backbone, once, on all of Spark's slots.

    spark-submit --master 'local[*]' jobs/embed_images.py \\
        --experiment dags/experiments/photos.yaml --dataset var/data/photos

Features are stored by the hash of an image's pixels. So a job that was killed continues, a folder that has grown costs
its new images only, and a data set whose features are there costs nothing.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from windrow import command, experiment, files, paths

if TYPE_CHECKING:
    from windrow.data.features import Features
    from windrow.data.features.embed_run import Pace
    from windrow.data.manifest import Manifest


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR", help="what prepare_dataset.py wrote")
    return parser.parse_args()


def main() -> int:
    """Run the job and return its exit code."""
    return command.run(embed, parse_args())


def embed(arguments: argparse.Namespace) -> dict[str, object]:
    """Compute the features that are not there, write them next to the images, and return the job's result."""
    from windrow.data import manifest
    from windrow.data.features import embedding, feature_cache, feature_files

    path, home = Path(arguments.experiment), paths.home()
    page = experiment.load_to_train(path, arguments.overrides)
    folder = arguments.dataset.resolve()
    files.check_writable(folder / feature_files.FILE)
    found, pace = embedding.embed(page, path.parent, folder, home)
    report(found)
    return summary(found, manifest.read(folder), pace, feature_cache.remove_unused(home))


def report(found: Features) -> None:
    """Print which test images nearly coincide with images of training or validation."""
    copies = found.near_copies
    if copies.missing:
        print(f"near copies were not looked for by features: {copies.missing}", file=sys.stderr)
    if copies.tests:
        pairs = "; ".join(" ~ ".join(names) for names in copies.examples)
        print(
            f"test images with nearly the features of another one: {len(copies.tests):,}, {pairs} (cosines from "
            f"{copies.limit} on, a limit that was measured with lite0)",
            file=sys.stderr,
        )


def summary(found: Features, manifest: Manifest, pace: Pace, removed: int) -> dict[str, object]:
    """Return the job's result."""
    return {
        "backbone": found.backbone.name,
        "backbone_digest": found.backbone.digest,
        "digest": found.digest,
        "features": found.backbone.features,
        "views": found.views,
        "images": sum(manifest.splits.values()),
        "computed": pace.computed,
        "seconds": round(pace.seconds, 1),
        "slots": pace.slots,
        **pace.figures(),
        "near_copies": {**asdict(found.near_copies), "tests": len(found.near_copies.tests)},
        "removed": removed,
    }


if __name__ == "__main__":
    sys.exit(main())
