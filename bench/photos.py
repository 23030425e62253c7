"""Measure how well a page with a backbone classifies photographs: folders with train/ and test/, by the real jobs.

    python bench/photos.py --photos /data/hymenoptera,/data/trashnet --splits 0,1,2

The page has a folder, a backbone, and the numbers of trials, epochs and seeds; all else is Windrow's default. A split
is a value of dataset.seed and sweep.seed: other images for validation, another search. The test images are those of the
folder, and are read once a promotion. Next to it, scikit-learn's LogisticRegression with its own settings learns from
the same features of all training and validation images. Each folder has a home of its own, so its first split computes
the features, and the others find them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import report
import windrow_job

SPLITS = ("train", "validation", "test")
FITS = {"squashed": "", "cropped": "-crop"}
WAYS = {True: "taken", False: "the default is taken"}
TEST_ERROR = "standard error, points"


def main() -> int:
    """Run the jobs for each folder and split, and write the table."""
    options = parse_args()
    machine = report.machine(options.slots)
    rows = [row(photos, split, options) for photos in options.photos for split in options.splits]
    columns = list(rows[0])
    table = report.table(columns, [[each[column] for column in columns] for each in rows])
    report.save(options.out, {"machine": machine, "rows": rows}, table)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, type=paths, metavar="DIR[,DIR...]", help="folders of photographs")
    parser.add_argument("--splits", default=[0], type=numbers, metavar="N[,N...]", help="seeds of split and search (0)")
    parser.add_argument("--backbone", default="lite0", help="network.backbone (lite0)")
    parser.add_argument("--trials", default=60, type=int, help="sweep.trials (60)")
    parser.add_argument("--epochs", default=20, type=int, help="sweep.epochs (20)")
    parser.add_argument("--seeds", default=5, type=int, help="promotion.seeds (5)")
    parser.add_argument(
        "--fine-tune", type=json.loads, metavar="JSON", help='promotion.fine_tune, such as {"blocks": 3} (none)'
    )
    parser.add_argument("--validation", type=float, help="dataset.validation (Windrow's default)")
    parser.add_argument("--slots", default=2, type=int, help="Spark's slots (2)")
    parser.add_argument("--out", type=Path, default=report.RESULTS / "photos.json", metavar="FILE")
    return parser.parse_args()


def paths(text: str) -> list[Path]:
    """The folders of a list with commas."""
    return [Path(part).resolve() for part in text.split(",")]


def numbers(text: str) -> list[int]:
    """The numbers of a list with commas."""
    return [int(part) for part in text.split(",")]


def row(photos: Path, split: int, options: argparse.Namespace) -> dict[str, Any]:
    """From photographs to a champion; a row of the table."""
    home = windrow_job.WORK / "photos" / photos.name
    folder = windrow_job.fresh_folder("photos", photos.name) if split == options.splits[0] else home
    kept = {} if options.validation is None else {"validation": options.validation}
    page = windrow_job.write_page(
        folder / f"photos_{split}.yaml",
        dataset={"source": str(photos), "seed": split, **kept},
        network={"backbone": options.backbone},
        sweep={"trials": options.trials, "epochs": options.epochs, "seed": split},
        promotion={"seeds": options.seeds} | ({} if options.fine_tune is None else {"fine_tune": options.fine_tune}),
    )
    data, study = folder / f"data-{split}", folder / f"study-{split}"
    on_data = ("--experiment", page, "--dataset", data)
    seconds, results = {}, {}
    for job, arguments in {
        "prepare_dataset": ("--experiment", page, "--out", data),
        "embed_images": on_data,
        "sweep": (*on_data, "--study", study),
        "promote_best": (*on_data, "--study", study),
    }.items():
        started = time.monotonic()
        results[job] = windrow_job.submit(windrow_job.REPOSITORY, job, folder, options.slots, *arguments)
        seconds[f"{job}, s"] = round(time.monotonic() - started, 1)
    promoted = results["promote_best"]
    challenger, default = promoted["figures"]["challenger"], promoted["figures"].get("default")
    median, images = challenger["seeds"]["median"], promoted["test_images"]
    found = {
        "photographs": photos.name,
        "split": split,
        "test images": images,
        "accuracy, median": round(median, 4),
        "over seeds": f"{challenger['seeds']['low']:.3f} to {challenger['seeds']['high']:.3f}",
        TEST_ERROR: round(100 * (median * (1 - median) / images) ** 0.5, 1),
        "macro-F1": round(challenger["macro_f1"], 4),
        "default, median": default and round(default["seeds"]["median"], 4),
        **{f"logistic regression, {name}": logistic(data, end) for name, end in FITS.items()},
        "found": lead(promoted),
        "fit": promoted["point"].get("fit"),
        "point": ", ".join(f"{name} {value:.3g}" for name, value in promoted["point"].items() if name != "fit"),
        **(fine_tuned(promoted) if options.fine_tune is not None else {}),
        **seconds,
    }
    print(found, file=sys.stderr, flush=True)
    return found


def logistic(data: Path, end: str) -> float:
    """The test accuracy of a logistic regression on the features, of files whose names have this end."""
    from sklearn.linear_model import LogisticRegression

    values = {split: np.load(data / f"{split}-features{end}.npy")[:, 0].astype(np.float32) for split in SPLITS}
    labels = {split: np.load(data / f"{split}-labels.npy") for split in SPLITS}
    learned = [np.concatenate([of["train"], of["validation"]]) for of in (values, labels)]
    return round(float(LogisticRegression(max_iter=3000).fit(*learned).score(values["test"], labels["test"])), 4)


def lead(promoted: dict[str, Any]) -> str:
    """What the cross-validation says of the best finalist against the default configuration."""
    found = promoted["lead"]
    return "-" if found is None else f"{found['difference']:+.4f} ± {found['error']:.4f}, {WAYS[found['clear']]}"


def fine_tuned(promoted: dict[str, Any]) -> dict[str, Any]:
    """The winner before and after fine-tuning: on validation, and on the test images; "none" where nothing came out."""
    found, figures = promoted["fine_tuning"], promoted["figures"]
    challenger = figures["challenger"]
    frozen, tuned = (figures.get("frozen"), challenger) if found["chosen"] else (challenger, figures.get("fine_tuned"))
    other = frozen if found["chosen"] else tuned
    ahead = other and other["challenger_against_it"]["interval"]
    error = "none" if found["error"] is None else f"{found['error']:.4f}"
    return {
        "validation, frozen": _rounded(found["frozen"]),
        "validation, fine-tuned": _rounded(found["fine_tuned"]),
        "gain": "none" if found["difference"] is None else f"{found['difference']:+.4f} ± {error}",
        "chosen": found["chosen"],
        "test, frozen, median": _rounded(frozen and frozen["seeds"]["median"]),
        "test, fine-tuned, median": _rounded(tuned and tuned["seeds"]["median"]),
        "test, challenger ahead of the other": f"{ahead['low']:+.4f} to {ahead['high']:+.4f}" if ahead else "none",
    }


def _rounded(value: float | None) -> float | str:
    return "none" if value is None else round(value, 4)


if __name__ == "__main__":
    sys.exit(main())
