"""Turn the data set that a page names into memory-mapped splits with a manifest.

    spark-submit --master 'local[*]' jobs/prepare_dataset.py \\
        --experiment dags/experiments/digits.yaml --out var/data/digits

A page's source may also be a feed whose records have a label (dataset.label). Its images are downloaded once, as for
scoring; a later run requests only what is new in the feed, or due again.

If the data set exists and was prepared with the same settings, the job verifies it and returns at once. If the settings
or the source folder have changed, it replaces the data set.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from windrow import command, experiment, files, paths, spark
from windrow.clusters import executors
from windrow.data import manifest as manifests
from windrow.data import overlap, shards, sources
from windrow.data.folder import Listing
from windrow.data.manifest import Manifest
from windrow.errors import DatasetError
from windrow.experiment import DatasetSection
from windrow.files import locked


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the prepared data set")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="folder of earlier runs, to name new and lost classes")
    return parser.parse_args(arguments)


def main() -> int:
    """Run the job and return its exit code."""
    return command.run(prepare, parse_args())


def prepare(arguments: argparse.Namespace) -> dict[str, object]:
    """Prepare the data set unless it is there already, as the page asks; return the job's result."""
    from windrow.model import backbones
    from windrow.scoring.labelled import labelled_images

    path = Path(arguments.experiment)
    page = experiment.load_to_train(path, arguments.overrides)
    feed = labelled_images.read(page)
    sources.check_there(page.dataset)  # a backbone that is needed for its size is converted in 5 to 20 s
    section = backbones.dataset_section(page, paths.home(), path.parent)
    out = arguments.out.resolve()
    if out.is_relative_to(sources.origin(section)):
        raise DatasetError(f"--out must not be inside the source; got {out}; choose a folder outside {section.source}")
    files.check_writable(out / manifests.FILE)
    listing = labelled_images.images(feed, page) if feed else None
    with locked(out):
        manifest = shards.existing(out, section, listing)
        if manifest is None:
            manifest = make(out, section, arguments.runs, page.cluster_minutes, listing)
        report(manifest)
        overlap.check(out)  # promote_best.py would refuse the data set too, but only after the sweep
        return summary(out, manifest)


def make(
    out: Path,
    section: DatasetSection,
    runs: Path | None = None,
    minutes: float = executors.MINUTES,
    listing: Listing | None = None,
) -> Manifest:
    """Load the source, write its splits, and return their manifest. Only images that are files need Spark.

    Args:
        runs: folder of earlier runs, each with a data set in a folder that is called as `out` is. The classes are
            compared with those of the newest of these, or of what is in `out`, from the same source; a change is a
            warning in the manifest.
        minutes: how long to wait for a cluster's executors.
        listing: what was downloaded, where the source is a feed.
    """
    print(f"preparing {section.source} in {out}", file=sys.stderr)
    before = manifests.labels_before([out, *(runs.glob(f"*/{out.name}") if runs else ())], sources.origin(section))
    open_spark = partial(spark.open_session, "prepare data set", minutes=minutes)
    source = sources.load(section, paths.home() / "downloads", open_spark, listing)
    changed = (set(source.labels) - set(before or source.labels), set(before or ()) - set(source.labels))
    if any(changed):
        new, gone = (", ".join(sorted(names)) or "none" for names in changed)
        source = replace(source, notes=(*source.notes, f"classes since the last preparation: new {new}; gone {gone}"))
    return shards.write(out, source, section)


def report(manifest: Manifest) -> None:
    """Print what is in the splits, and what makes the data set's figures less certain."""
    for line in (*manifest.lines(), *(f"warning: {warning}" for warning in manifest.warnings)):
        print(line, file=sys.stderr)


def summary(out: Path, manifest: Manifest) -> dict[str, object]:
    """Return the job's result."""
    return {
        "dataset": str(out),
        "digest": manifest.digest,
        "shape": list(manifest.shape),
        "classes": len(manifest.labels),
        "labels": list(manifest.labels),
        "splits": manifest.splits,
        "source": manifest.source,
        "class_counts": manifest.class_counts,
        "left_out": len(manifest.left_out),
        "copies": asdict(manifest.copies),
        "near_copies": asdict(manifest.near_copies),
        "warnings": list(manifest.warnings),
    }


if __name__ == "__main__":
    sys.exit(main())
