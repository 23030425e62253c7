"""Count the URLs whose newest label is of another version: those that `--rescore` would label again.

The other version is usually an earlier one. After a rollback it is the version that was withdrawn.

Reading the keys of a whole table takes a third of a second for each million rows. So a run's commit has the numbers,
and a run with the same model takes them from there. Numbers that are in no commit are kept in a file:

    TABLE/_windrow/other_versions.json     of one version of the table and one model; it may be removed at any time

Older versions of Windrow kept numbers as `earlier_labels` and in earlier.json. They left out the URLs that the model
had labelled before a rollback, so they are not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from windrow.files import write_text
from windrow.scoring.feed import known_keys
from windrow.scoring.fetch.status import Status
from windrow.scoring.table import prediction
from windrow.scoring.table.lock import OWN

if TYPE_CHECKING:
    from windrow.scoring.table.predictions_table import PredictionTable

_FILE = "other_versions.json"
_COLUMNS = ("url_key", "status", "model_name", "model_version", "scored_at")


def labels(table: PredictionTable, model: tuple[str, str]) -> Mapping[str, int]:
    """Count the URLs that a model (name, version) would label again, by the version of their newest label."""
    newest = next(table.past(), {})
    if (newest.get("model_name"), newest.get("model_version")) == model and "other_versions" in newest:
        found: Mapping[str, int] = newest["other_versions"]
        return found
    file, place = table.folder / OWN / _FILE, [table.version, *model]
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if kept.get("of") != place:
        kept = {"of": place, "labels": count(table.files(), model)}
        write_text(file, json.dumps(kept))
    return dict(kept["labels"])


def count(files: Sequence[Path], model: tuple[str, str]) -> dict[str, int]:
    """Count URLs by the version of their newest label, most frequent first.

    Only labels of other versions count, and only URLs without a row of the model, or with an older one. A version of
    another model is named NAME/VERSION.
    """
    own, labelled = _Newest(model[0]), _Newest(model[0])
    for path in files:
        for rows in prediction.read_rows(path, _COLUMNS):
            mine = known_keys.is_of(rows, model)
            own.add(rows.filter(mine))
            labelled.add(rows.filter(pc.and_not(pc.equal(rows["status"], Status.OK.value), mine)))
    return labelled.count_after(own)


class _Newest:
    """The newest row of each URL, of the rows that were added: its key, its version's number, its time."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._numbers: dict[str, int] = {}
        self._keys: list[known_keys.Keys] = [np.empty(0, known_keys.DTYPE)]
        self._versions: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        self._times: list[NDArray[np.int64]] = [np.empty(0, np.int64)]

    def add(self, rows: pa.RecordBatch) -> None:
        full = pc.binary_join_element_wise(rows["model_name"], rows["model_version"], "/")
        own = pc.equal(rows["model_name"], self._model_name)
        names = pc.if_else(own, rows["model_version"], full).dictionary_encode()
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in names.dictionary.to_pylist()]
        self._keys.append(known_keys.of_hex(rows["url_key"]))
        self._versions.append(np.array(numbers, np.int64)[names.indices.to_numpy()])
        self._times.append(pc.fill_null(rows["scored_at"].cast(pa.int64()), 0).to_numpy())

    def _sorted(self) -> tuple[known_keys.Keys, NDArray[np.int64], NDArray[np.int64]]:
        """Return keys, versions and times (microseconds) of the newest rows, sorted by key."""
        keys, versions = np.concatenate(self._keys), np.concatenate(self._versions)
        times = np.concatenate(self._times)
        order = np.lexsort((times, keys))
        newest = np.ones(len(order), np.bool_)
        newest[:-1] = keys[order][1:] != keys[order][:-1]
        chosen = order[newest]
        return keys[chosen], versions[chosen], times[chosen]

    def count_after(self, own: _Newest) -> dict[str, int]:
        """Count, by version, the rows that are newer than their URL's row in `own`, if it has one."""
        keys, versions, times = self._sorted()
        known, _, before = own._sorted()
        after = ~known_keys.contains(known, keys)
        after[~after] = times[~after] > before[np.searchsorted(known, keys[~after])]
        counts = np.bincount(versions[after], minlength=len(self._numbers)).tolist()
        pairs = [(name, counts[number]) for name, number in self._numbers.items() if counts[number]]
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))
