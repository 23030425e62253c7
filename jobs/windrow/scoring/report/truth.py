"""Compare a run's labels with the true classes in a column of its feed.

    truth = compare(files, "label", names)
    truth.accuracy, truth.low, truth.high, truth.macro_f1

A true class is recognised by a label, or by one of the names between a label's commas, in upper or lower case; a label
that is written exactly so comes first. Rows without a label, and records without a true class, do not count.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from windrow.scoring.feed.class_column import class_name
from windrow.scoring.fetch.status import Status
from windrow.scoring.network import labels
from windrow.scoring.report.figures import Truth
from windrow.scoring.table import prediction
from windrow.selection import statistics

_WHOLE = re.compile(r"(-?\d+)\.0+")
_NAMED = 10
_LONGEST_NAME = 80  # characters


def compare(files: Sequence[Path], column: str, names: Sequence[str]) -> Truth:
    """Compare the labels in a run's files with the true classes in a column of the feed.

    Args:
        files: the Parquet files of the run.
        column: the feed's column with the true class; a feed without it gives no images.
        names: the labels of the network's classes, in order.
    """
    numbers = labels.numbers(names)
    pairs: Counter[tuple[int, int]] = Counter()
    unknown: Counter[str] = Counter()
    for path in files:
        for rows in prediction.read_rows(path, ("status", "label_id", "extra")):
            for name, label_id in _labelled(rows, column):
                number = _class_of(name, numbers)
                if number is not None:
                    pairs[number, label_id] += 1
                elif name.lower() != "nan":  # how some CSV files write a gap
                    unknown[name[:_LONGEST_NAME]] += 1
    most = sorted(unknown, key=lambda name: (-unknown[name], name))[:_NAMED]
    return replace(_figures(column, pairs), unknown=unknown.total(), unknown_names=tuple(most))


def _labelled(rows: pa.RecordBatch, column: str) -> Iterator[tuple[str, int]]:
    """Yield the true class and the number of the label of each labelled row whose record has a true class."""
    found = rows.filter(pc.and_(pc.equal(rows["status"], Status.OK.value), rows["extra"].is_valid()))
    for extra, label_id in zip(found["extra"].to_pylist(), found["label_id"].to_pylist(), strict=True):
        if name := class_name(json.loads(extra).get(column)):
            yield name, label_id


def _class_of(name: str, numbers: Mapping[str, int]) -> int | None:
    """Return the number of the true class `name`; the text 7.0, as in CSV, is 7 unless a label is 7.0."""
    number = labels.number_of(name, numbers)
    if number is None and (whole := _WHOLE.fullmatch(name)):
        return labels.number_of(whole[1], numbers)
    return number


def _figures(column: str, pairs: Counter[tuple[int, int]]) -> Truth:
    """Return the figures of images, counted by (true class, labelled class)."""
    if not pairs:
        return Truth(column)
    from sklearn.metrics import f1_score

    classes: Counter[int] = Counter()
    for (number, _), count in pairs.items():
        classes[number] += count
    images, right = pairs.total(), sum(count for (number, label), count in pairs.items() if number == label)
    interval = statistics.wilson(right, images)
    true, given = zip(*pairs, strict=True)
    weights = list(pairs.values())
    score = f1_score(true, given, labels=sorted(classes), average="macro", sample_weight=weights, zero_division=0.0)
    return Truth(
        column,
        images=images,
        right=right,
        low=round(interval.low, 4),
        high=round(interval.high, 4),
        baseline=round(max(classes.values()) / images, 4),
        macro_f1=round(float(score), 4),
    )
