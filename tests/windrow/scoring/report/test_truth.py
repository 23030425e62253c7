"""A feed with true classes: accuracy, interval, baseline and macro-F1 as scikit-learn and scipy have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from harness.predictions import PATIENCE, labelled_row, row_of
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.report import truth
from windrow.scoring.report.figures import Truth
from windrow.scoring.table import prediction
from windrow.scoring.table.prediction import Prediction

NAMES = ("cat, tabby", "dog", "7")


def labelled(number: int, label: int, **record: Any) -> Prediction:
    extra = json.dumps(record) if record else None
    return labelled_row(f"http://a.example/{number}", [label], [0.5], NAMES, extra=extra)


def compared(folder: Path, *rows: Prediction, column: str = "class") -> Truth:
    folder.mkdir(exist_ok=True)
    files = []
    for number, some in enumerate((rows[::2], rows[1::2])):
        files.append(folder / f"part-{number}.parquet")
        with pq.ParquetWriter(files[-1], prediction.SCHEMA) as writer:
            writer.write_batch(prediction.record_batch(some, PATIENCE))
    return truth.compare(files, column, NAMES)


def test_labels_are_compared_with_the_column_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [
        *(labelled(number, 0, **{"class": "cat"}) for number in range(6)),
        *(labelled(number, 0, **{"class": " DOG "}) for number in range(6, 8)),
        *(labelled(number, 1, **{"class": "dog"}) for number in range(8, 10)),
        labelled(10, 2, **{"class": 7.0}),  # a column of whole numbers with gaps, in Parquet
        labelled(11, 2, **{"class": "7.0"}),  # the same in CSV
        labelled(12, 2, **{"class": "horse"}),
        labelled(13, 2, **{"class": "horse"}),
        labelled(14, 2, **{"class": "Esel"}),
        labelled(15, 2, **{"class": None}),
        labelled(16, 2, **{"class": "  "}),
        labelled(20, 2, **{"class": float("nan")}),
        labelled(21, 2, **{"class": "nan"}),
        labelled(17, 2, shop=3),
        labelled(18, 2),
        row_of("http://a.example/19", "http_error", extra='{"class":"cat"}'),
    ]
    found = compared(tmp_path, *rows)
    assert (found.images, found.right, found.accuracy, found.baseline) == (12, 10, 0.8333, 0.5)
    assert (found.unknown, found.unknown_names) == (3, ("horse", "Esel"))
    assert found.macro_f1 == pytest.approx((12 / 14 + 2 / 3 + 1) / 3, abs=1e-4)
    assert found.low is not None
    assert found.high is not None
    assert 0.5 < found.low < 0.8333 < found.high < 1.0


def test_a_feed_without_the_column_gives_no_figures_and_no_error(tmp_path: Path) -> None:
    assert compared(tmp_path, labelled(1, 0, shop=3), labelled(2, 0), column="class") == Truth("class")
    assert Truth("class").accuracy is None


@given(pairs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_the_figures_of_counted_pairs_are_those_of_the_single_images(
    pairs: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    true, given_labels = zip(*pairs, strict=True)
    rows = [labelled(number, label, **{"class": NAMES[one]}) for number, (one, label) in enumerate(pairs)]
    found = compared(tmp_path_factory.mktemp("t"), *rows)
    assert found.accuracy == pytest.approx(accuracy_score(true, given_labels), abs=1e-4)
    each = f1_score(true, given_labels, labels=sorted(set(true)), average="macro", zero_division=0.0)
    assert found.macro_f1 == pytest.approx(each, abs=1e-4)
    assert found.baseline == pytest.approx(max(map(true.count, set(true))) / len(true), abs=1e-4)
