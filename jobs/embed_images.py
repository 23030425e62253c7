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
from windrow.errors import DatasetError

if TYPE_CHECKING:
    from windrow.data.features import Features
    from windrow.data.features.embed_run import Pace
    from windrow.data.features.feature_cache import FeatureCache
    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment
    from windrow.model.backbone import Backbone


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
    from windrow.data import manifest as manifests
    from windrow.data.features import embed_run, feature_cache, feature_files, views
    from windrow.model import backbones

    path = Path(arguments.experiment)
    page = experiment.load_to_train(path, arguments.overrides)
    source, number = feature_files.source_of(page), views.most_views(page)
    folder, home = arguments.dataset.resolve(), paths.home()
    files.check_writable(folder / feature_files.FILE)
    with files.locked(folder):
        manifest = manifests.read(folder)
        backbone = backbones.bring(source.backbone, source.backbone_sha256, source.backbone_layer, home, path.parent)
        check_shape(manifest, backbone)
        cache = feature_cache.FeatureCache(home, backbone)
        digest = feature_files.digest_of(manifest.digest, backbone, number)
        found, pace = feature_files.existing(folder, digest, source), embed_run.Pace()
        if found is None:
            found, pace = compute(page, folder, manifest, backbone, cache, number)
        report(found)
    return summary(found, manifest, pace, feature_cache.remove_unused(home))


def check_shape(manifest: Manifest, backbone: Backbone) -> None:
    """Check that the data set's images have the shape that the backbone takes.

    Raises:
        DatasetError: they have another shape.
    """
    if manifest.shape != backbone.shape:
        wanted, found = ("x".join(map(str, shape)) for shape in (backbone.shape, manifest.shape))
        raise DatasetError(
            f"images must have the backbone's shape, {wanted}; got {found}; prepare them again with "
            f"dataset.image_size={backbone.shape[0]} and dataset.channels=3"
        )


def compute(
    page: Experiment, folder: Path, manifest: Manifest, backbone: Backbone, cache: FeatureCache, number: int
) -> tuple[Features, Pace]:
    """Compute what the cache lacks, and write the features of all splits; return their description and the pace."""
    from windrow.data.features import Features, embed_run, feature_files, look_alikes
    from windrow.spark import open_session

    wanted, pace = embed_run.absent(folder, cache, number), embed_run.Pace()
    if wanted:
        with open_session(f"features {page.name}") as spark:
            pace = embed_run.compute(spark, folder, manifest, backbone, cache, wanted)
        cache.refresh()
    description = Features(
        source=feature_files.source_of(page),
        backbone=backbone,
        dataset=manifest.digest,
        digest=feature_files.digest_of(manifest.digest, backbone, number),
        views=number,
        shape=(1, 1, backbone.features),
        near_copies=look_alikes.find(folder, cache),
    )
    return feature_files.write(folder, manifest, cache, description), pace


def report(found: Features) -> None:
    """Print which test images nearly coincide with images of training or validation."""
    copies = found.near_copies
    if copies.missing:
        print(f"near copies were not looked for by features: {copies.missing}", file=sys.stderr)
    if copies.tests:
        pairs = "; ".join(" ~ ".join(names) for names in copies.examples)
        print(f"test images with nearly the features of another one: {len(copies.tests):,}, {pairs}", file=sys.stderr)


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
