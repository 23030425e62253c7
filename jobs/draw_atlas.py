"""Draw what a study's search found out about the hyper-parameters, as an HTML page and as PNGs, and log them to MLflow.

    python jobs/draw_atlas.py \\
        --experiment dags/experiments/digits.yaml --dataset var/data/digits --study var/studies/digits

The trials come from the study's ledger, which may be read even while the study's sweep runs. Neither Spark nor
TensorFlow is started. The documentation's pictures come from the same command, with --out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from windrow import command, experiment, files
from windrow.plural import counted

if TYPE_CHECKING:
    from windrow.experiment import Experiment
    from windrow.model.backbone import Backbone
    from windrow.sweep.study import StudyRecord

Image = tuple[tuple[int, int, int], int]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--study", required=True, type=Path, metavar="DIR", help="the folder that sweep.py worked in")
    parser.add_argument(
        "--dataset", type=Path, metavar="DIR", help="what prepare_dataset.py wrote; without it no weights are counted"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the files; atlas/ in the study's if empty")
    return parser.parse_args()


def main() -> int:
    """Run the job and return its exit code."""
    return command.run(draw_atlas, parse_args())


def draw_atlas(arguments: argparse.Namespace) -> dict[str, object]:
    """Read the study, draw its atlas, and log the files to MLflow; return the job's result."""
    from windrow import atlas
    from windrow.selection.hints import validation_baseline
    from windrow.tracking.atlas import log_atlas

    start = perf_counter()
    page = experiment.load_to_train(arguments.experiment, arguments.overrides)
    folder = arguments.out or arguments.study / "atlas"
    files.check_writable(folder / "atlas.html")
    study, image, backbone = open_study(page, arguments)
    baseline = None if arguments.dataset is None else validation_baseline(arguments.dataset)
    warnings: list[str] = []
    drawn = atlas.write(atlas.read(study, image, baseline, backbone), folder, warnings.append)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{drawn[0]} and {counted(len(drawn) - 1, 'picture')}", file=sys.stderr)
    logged = log_atlas(study.identity, drawn)
    pages = [str(file) for file in drawn]
    return {**logged, "pages": pages, "warnings": warnings, "seconds": round(perf_counter() - start, 1)}


def open_study(page: Experiment, arguments: argparse.Namespace) -> tuple[StudyRecord, Image | None, Backbone | None]:
    """Open the study for reading; return it with what its trials learn from, and with the page's backbone.

    What they learn from is the shape of an image, or of a backbone's features, and the number of classes. Without
    --dataset, return None in place of both, and take the data set's digest from the study itself without a check. The
    backbone is None for a page without one, too.
    """
    from windrow.data import features, manifest
    from windrow.sweep.spec import trained_on
    from windrow.sweep.study import read_study
    from windrow.sweep.study_folder import dataset_of
    from windrow.training.networks import read_builder

    builder = read_builder(page.network, Path(arguments.experiment))
    if arguments.dataset is None:
        return read_study(arguments.study, page, dataset_of(arguments.study), builder.source), None, None
    dataset = trained_on(page, manifest.read(arguments.dataset), arguments.dataset)
    study = read_study(arguments.study, page, dataset.digest, builder.source)
    backbone = features.read(arguments.dataset).backbone if page.network.backbone else None
    return study, (dataset.shape, len(dataset.labels)), backbone


if __name__ == "__main__":
    sys.exit(main())
