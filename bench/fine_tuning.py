"""What a step of fine-tuning takes, by the number of the backbone's last blocks that are trained, on one core.

    python bench/fine_tuning.py
    python bench/fine_tuning.py --backbone /data/mobilenet.keras --blocks 1,2,4,8

It measures as a promotion does before it trains (windrow/sweep/tuning/tuning.py), with the default head.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

import report
from windrow.experiment import FineTuneSection, parameters
from windrow.model.backbones import lite0
from windrow.sweep.tuning import tuning
from windrow.training import runtime

CLASSES = 6


def main() -> int:
    """Measure each number of blocks, and write the table."""
    options = parse_args()
    report.use_cores(1)
    machine = report.machine(1)
    runtime.import_tensorflow(1)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        backbone = options.backbone or saved_lite0(Path(scratch))
        rows = [row(backbone, blocks) for blocks in options.blocks]
    columns = list(rows[0])
    table = report.table(columns, [[each[column] for column in columns] for each in rows])
    report.save(options.out, {"machine": machine, "rows": rows}, table)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", type=Path, metavar="FILE", help="a backbone's .keras file (lite0)")
    parser.add_argument("--blocks", default=[1, 2, 3, 5], type=numbers, metavar="N[,N...]", help="blocks (1,2,3,5)")
    parser.add_argument("--out", type=Path, default=report.RESULTS / "fine_tuning.json", metavar="FILE")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """The numbers of a list with commas."""
    return [int(part) for part in text.split(",")]


def saved_lite0(folder: Path) -> Path:
    """Write lite0 as a .keras file, and return its path."""
    path = folder / "lite0.keras"
    lite0.build(lite0.weights(lite0.file())).save(path)
    return path


def row(backbone: Path, blocks: int) -> dict[str, Any]:
    """A row of the table."""
    need = tuning.need(backbone, FineTuneSection(blocks=blocks), parameters.defaults("head"), CLASSES)
    if need.error:
        sys.exit(f"error: {need.error}")
    return {
        "blocks": blocks,
        "weights": f"{need.weights:,}",
        "ms per image and step": round(1000 * need.step_seconds, 1),
        "ms to label an image from the maps": round(1000 * need.evaluation_seconds, 1),
        "ms for an image's maps": round(1000 * need.trunk_seconds, 1),
        "KiB of maps": need.map_bytes >> 10,
        "MiB of the process": round(need.mebibytes),
    }


if __name__ == "__main__":
    sys.exit(main())
