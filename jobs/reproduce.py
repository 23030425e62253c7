"""Train a registered version again from its record in MLflow, and compare the metric and the weights.

    spark-submit --master 'local[*]' jobs/reproduce.py --model digits --version 3 --out var/reproduce/digits-3

The page with its overrides, the network's file, the hyper-parameters and the seed come from the record, not from the
working tree; the data set is prepared again from its source, and must have the recorded digest. The exit code is 0 even
if the weights differ: the result has the comparison. On the same kind of processor, with one core per trial, the same
versions of the packages and the same revision of the built-in networks, the weights are equal.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from windrow import command, files, paths
from windrow.errors import DatasetError

if TYPE_CHECKING:
    from windrow.data.manifest import Manifest
    from windrow.selection.reproduction import Record, Reproduction


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command.bare_parser(__doc__)
    parser.add_argument("--model", required=True, metavar="NAME", help="registered model's name")
    parser.add_argument("--version", required=True, metavar="N", help="version of it")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the prepared data set")
    return parser.parse_args()


def main() -> int:
    """Run the job and return its exit code."""
    return command.run(reproduce, parse_args())


def reproduce(arguments: argparse.Namespace) -> dict[str, object]:
    """Read the record, prepare the data set, train, and compare; return the job's result."""
    from windrow.data import manifest
    from windrow.data.features import embedding
    from windrow.selection.reproduction import train_again
    from windrow.spark import open_session
    from windrow.sweep import cluster
    from windrow.tracking.record import read_record

    files.check_writable(arguments.out / manifest.FILE)
    record = read_record(arguments.model, arguments.version)
    check_backbone(record)
    dataset = prepare(arguments.out, record)
    if record.page.network.backbone is not None:
        embedding.embed(record.page, Path(), arguments.out, paths.home())
    page = record.page
    with open_session(f"reproduce {record}", page.sweep.cores, page.cluster_minutes, cluster.DAEMON) as spark:
        again = train_again(spark, record, dataset, arguments.out)
    result = compare(record, again)
    print(f"{record}, trained again: {result['told']}", file=sys.stderr)
    return result


def check_backbone(record: Record) -> None:
    """Check that the page's backbone is the one in the version, before anything is computed with it.

    Raises:
        DatasetError: the backbone's weights are others now.
        UserError, DownloadError, ServiceError: as for backbones.bring.
    """
    from windrow.model import backbones

    network, wanted = record.page.network, record.backbone_digest
    if network.backbone is None or wanted is None:
        return
    found = backbones.bring(network.backbone, network.backbone_sha256, network.backbone_layer, paths.home(), Path())
    if found.digest != wanted:
        raise DatasetError(
            f"{record} must be trained on features of the backbone with digest {wanted[:16]}; {network.backbone} "
            f"gives {found.digest[:16]} now; bring its file back as it was when the version was made"
        )


def prepare(out: Path, record: Record) -> Manifest:
    """Prepare the version's data set in `out`, unless it is there already; return its manifest.

    Raises:
        DatasetError: the data set's source is gone, or has changed.
        ServiceError: images of a feed can't be downloaded for now.
    """
    from windrow.data import shards, sources
    from windrow.files import locked
    from windrow.model import backbones
    from windrow.scoring.labelled import labelled_images

    section, feed = backbones.dataset_section(record.page, paths.home(), Path()), labelled_images.read(record.page)
    listing = labelled_images.images(feed, record.page) if feed else None
    with locked(out):
        made = shards.existing(out, section, listing)
        if made is None:
            source = sources.load(section, paths.home() / "downloads", listing=listing)
            made = shards.write(out, source, section)
    if made.digest != record.dataset_digest:
        raise DatasetError(
            f"{record} must be trained on the data set with digest {record.dataset_digest[:16]}; "
            f"{section.source} gives {made.digest[:16]} now; bring it back as it was when the version was made "
            "(a folder that was split before 2026-11-27 can't be split in the same way again)"
        )
    return made


def compare(record: Record, again: Reproduction) -> dict[str, object]:
    """Compare metric and weights with the record; return the job's result, with the sentence to print as `told`."""
    from windrow.tracking.server import version_link

    difference = again.accuracy - record.test_accuracy
    equal = again.weights == record.weights
    text = f"test accuracy {again.accuracy:.4f}, recorded {record.test_accuracy:.4f} ({difference:+.4f}); weights "
    text += "equal bit for bit" if equal else "differ"
    if record.packages and not equal:
        text += "; other versions now: " + ", ".join(
            f"{name} {now} (then {then})" for name, (then, now) in record.packages.items()
        )
    return {
        "model_name": record.model,
        "model_version": record.version,
        "trial": record.trial,
        "seed": record.seed,
        "metric": "test_accuracy",
        "recorded": record.test_accuracy,
        "again": again.accuracy,
        "difference": difference,
        "test_images": again.images,
        "bits_equal": equal,
        "weights_sha256": again.weights,
        "recorded_weights_sha256": record.weights,
        "other_packages": {name: {"then": then, "now": now} for name, (then, now) in record.packages.items()},
        "told": text,
        "links": version_link(record.model, record.version),
    }


if __name__ == "__main__":
    sys.exit(main())
