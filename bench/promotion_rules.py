"""Compare rules that choose between the default head and the best finalist, by nested cross-validation.

    python bench/promotion_rules.py --photos /data/hymenoptera,/data/trashnet

Each folder has train/ and test/, and head_choices.py's features; its test images are never read. Of each set of images
to learn from, head_choices.py's, a page's part is for validation. A search draws heads at random from the space that a
page with a backbone gets, half of them squashed and half cropped, with the default configuration in both; the three
best of each by the loss of that validation are finalists. They and the default configuration are cross-validated as
promote_best.py does it, with up to 10 seeds, and then trained on all the images of the set. A rule sees the losses of
the cross-validation, and its figure is the accuracy of the head that it takes on the set's other images.

A row is a rule, a column a number of photographs. Values are mean accuracies, and after them the standard error of the
difference to the first rule. The last rows are the share of finalists whose lead over the default configuration, by
cross-validation, is more than one standard error from that on the other images; by t with four degrees of freedom it
would be 37 %. A set's result is kept in DIR/promotion_rules.jsonl, so a run that was ended goes on. With
--smaller 4 heads see each fourth feature, and have a fourth of the units: a sixteenth of the weights, and of the time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import head_choices
import numpy as np
import photos
import report
import windrow_job
from windrow import experiment
from windrow.data.splits import STORED
from windrow.experiment.head_space import HEAD_SPACE
from windrow.sweep.seeds import seed_of
from windrow.training import data, fused, runtime
from windrow.training.data import Examples
from windrow.training.networks import Builder

EPOCHS, VALIDATION, FINALISTS, GROUP = head_choices.EPOCHS, 0.15, 3, 10
Candidate = dict[str, Any]


def main() -> int:
    """Measure what is not yet measured, and write the table."""
    options = parse_args()
    report.use_cores(1)
    machine = report.machine(1)
    runtime.import_tensorflow(1)
    kept = windrow_job.WORK / f"promotion_rules-{options.smaller}.jsonl"
    known = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    for folder in options.photos:
        page, prepared = head_choices.prepared(folder)
        images = {fit: thinned(head_choices.whole(prepared, fit), options.smaller) for fit in STORED}
        for number, (name, learned, tested) in enumerate(parts(images["main"].labels, options.draws)):
            key = [folder.name, name, number]
            if options.only not in (None, name) or any(one["key"] == key for one in known):
                continue
            found = {"key": key, **measured(page, images, learned, tested, number, options)}
            known.append(found)
            with kept.open("a") as file:
                file.write(json.dumps(found) + "\n")
            print(f"{key}: done", file=sys.stderr, flush=True)
    table = compared(known)
    report.save(options.out, {"machine": machine, "records": known}, table)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, type=photos.paths, metavar="DIR[,DIR...]", help="folders")
    parser.add_argument("--draws", default=10, type=int, help="draws of few images of each class (10)")
    parser.add_argument("--trials", default=32, type=int, help="heads of a search (32)")
    parser.add_argument("--seeds", default=10, type=int, help="seeds of the cross-validation (10)")
    parser.add_argument("--smaller", default=1, type=int, help="divide features and units by this number (1)")
    parser.add_argument("--only", metavar="NAME", help="measure only the sets of this name, such as '5 a class'")
    parser.add_argument("--out", type=Path, default=report.RESULTS / "promotion_rules.json", metavar="FILE")
    return parser.parse_args()


def thinned(examples: Examples, smaller: int) -> Examples:
    """The images with each feature whose number `smaller` divides."""
    return Examples(np.ascontiguousarray(examples.images[..., ::smaller]), examples.labels)


def parts(labels: Any, draws: int) -> Iterator[tuple[str, Any, Any]]:
    """Names of the sets, with the images to learn from and those to test on; the whole is divided anew twice."""
    for name, pairs in head_choices.sets(labels, draws):
        if "a class" in name and " or " not in name:
            yield from ((name, *pair) for pair in pairs)
    for turn in range(2):
        order = np.random.default_rng(turn).permutation(len(labels))
        for fold in range(head_choices.FOLDS):
            yield (
                "all but a fifth",
                np.delete(order, np.s_[fold :: head_choices.FOLDS]),
                order[fold :: head_choices.FOLDS],
            )


def measured(
    page: experiment.Experiment, images: dict[Any, Examples], learned: Any, tested: Any, number: int, options: Any
) -> dict[str, Any]:
    """Search, cross-validate and test on one set of images; the finalists and the default configuration."""
    held = max(1, round(VALIDATION * len(learned)))
    split = {fit: (take(known, learned[held:]), take(known, learned[:held])) for fit, known in images.items()}
    base = page.network.sized(len(learned) - held).defaults()
    pools = {fit: pool(base, options.trials // 2, seed_of(number, place)) for place, fit in enumerate(STORED)}
    for head in (head for heads in pools.values() for head in heads):
        head["units"] //= options.smaller
    chosen: list[Candidate] = []
    for fit, heads in pools.items():
        losses = trained(heads, *split[fit], 1)[:, 0]
        for place in sorted({0, *np.argsort(losses)[:FINALISTS].tolist()}):
            chosen.append({"fit": fit, "place": place, "losses": [float(losses[place])]})
    keys = split["main"]
    for fit in STORED:
        mine = [one for one in chosen if one["fit"] == fit]
        heads = [pools[fit][one["place"]] for one in mine]
        for fold in range(2, options.seeds + 1):
            for one, row in zip(mine, trained(heads, *data.folded(*split[fit], fold, keys), fold), strict=True):
                one["losses"].append(float(row[0]))
        every = [trained(heads, take(images[fit], learned), take(images[fit], tested), -seed) for seed in range(3)]
        for one, row in zip(mine, np.mean(every, axis=0), strict=True):
            one["tested"] = row.tolist()
    return {"training": len(learned) - held, "validation": held, "candidates": chosen}


def take(examples: Examples, rows: Any) -> Examples:
    """Some of the images."""
    return Examples(examples.images[rows], examples.labels[rows])


def pool(base: dict[str, Any], count: int, seed: int) -> list[dict[str, Any]]:
    """The default configuration and further heads, drawn at random from the space."""
    generator = np.random.default_rng(seed)
    return [dict(base), *({**base, **drawn(generator)} for _ in range(count - 1))]


def drawn(generator: Any) -> dict[str, Any]:
    """A point of the space, without `fit`."""
    point: dict[str, Any] = {}
    for name, ends in HEAD_SPACE.items():
        if name != "fit":
            low, high = (math.log(float(ends[end])) if "log" in ends else float(ends[end]) for end in ("low", "high"))  # type: ignore[arg-type]
            value = generator.uniform(low, high)
            value = math.exp(value) if "log" in ends else value
            point[name] = round(value) if ends["type"] == "int" else value
    return point


def trained(heads: list[dict[str, Any]], training: Examples, validation: Examples, seed: int) -> Any:
    """Train heads, alike widths side by side; their validation losses and accuracies, (heads, 2)."""
    classes, shape = len(np.unique(training.labels)), (1, 1, training.images.shape[-1])
    found, order = np.zeros((len(heads), 2)), sorted(range(len(heads)), key=lambda place: heads[place]["units"])
    for group in (order[start : start + GROUP] for start in range(0, len(order), GROUP)):
        members = [
            fused.Member({**heads[place], "fit": "squash"}, seed_of(abs(seed), place, int(seed < 0))) for place in group
        ]
        run = fused.prepare(Builder("head"), members, shape, classes, training, validation, EPOCHS)
        *_, last = run.epochs()
        found[group] = [(one.val_loss, one.val_accuracy) for one in last if one is not None]
    return found


def compared(records: list[dict[str, Any]]) -> str:
    """The table of rules, and what share of differences is off by more than a standard error."""
    columns: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        columns[f"{record['key'][0]}, {record['key'][1]}"].append(record)
    columns["all"] = records
    rows = [["sets", *(str(len(known)) for known in columns.values())]]
    for name, seeds, errors, corrected in rules():
        cells = []
        for known in columns.values():
            default = [accuracy(record, 5, math.inf, False) for record in known]
            cells.append(head_choices.cell([accuracy(record, seeds, errors, corrected) for record in known], default))
        rows.append([name, *cells])
    for name, corrected in (("off by more than the usual error", False), ("the corrected error", True)):
        rows.append(
            [
                name,
                *(
                    f"{np.mean([one for each in known for one in off(each, corrected)]):.0%}"
                    for known in columns.values()
                ),
            ]
        )
    return report.table(["rule", *columns], rows)


def rules() -> Iterator[tuple[str, int, float, bool]]:
    """Each rule's name, seeds, errors by which the best finalist must lead, and whether these are corrected."""
    for seeds in (5, 10):
        yield f"{seeds} seeds: the default", seeds, math.inf, False
        yield f"{seeds} seeds: the best mean", seeds, 0.0, False
        for errors in (1, 2, 3):
            yield f"{seeds} seeds: ahead by {errors} usual standard errors", seeds, errors, False
        for errors in (1, 2):
            yield f"{seeds} seeds: ahead by {errors} corrected standard errors", seeds, errors, True


def accuracy(record: dict[str, Any], seeds: int, errors: float, corrected: bool) -> float:
    """The test accuracy of what a rule takes: the best finalist if its lead is above so many standard errors."""
    known = sorted(record["candidates"], key=lambda one: np.mean(one["losses"][:seeds]))
    default = next(one for one in known if one["place"] == 0)
    best = next(one for one in known if one["place"])
    difference, error = lead(best["losses"][:seeds], default["losses"][:seeds], record, corrected)
    return float((best if difference > (errors and errors * error) else default)["tested"][1])


def lead(losses: list[float], default: list[float], record: dict[str, Any], corrected: bool) -> tuple[float, float]:
    """The mean difference of losses, and its standard error, corrected for shared training images or not."""
    gains = np.array(default) - np.array(losses)
    share = record["validation"] / record["training"] if corrected else 0.0
    return float(gains.mean()), float(gains.std(ddof=1) * (1 / len(gains) + share) ** 0.5)


def off(record: dict[str, Any], corrected: bool) -> Iterator[bool]:
    """Whether each finalist's lead over five further seeds is more than a standard error from the tested one."""
    for one in record["candidates"]:
        default = next(each for each in record["candidates"] if each["place"] == 0 and each["fit"] == one["fit"])
        if one["place"]:
            difference, error = lead(one["losses"][1:6], default["losses"][1:6], record, corrected)
            yield abs(difference - default["tested"][0] + one["tested"][0]) > error


if __name__ == "__main__":
    sys.exit(main())
