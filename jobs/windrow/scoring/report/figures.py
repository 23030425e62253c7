"""What a scoring run did, in figures: read from the files that it wrote, so that they say what the table says.

They stand in the run's commit, from which MLflow is told, and in its result: a few KiB, however large the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from windrow.scoring.fetch import urls
from windrow.scoring.fetch.status import Status

STAGES = ("fetch_ms", "decode_ms", "predict_ms")
SCORE_BINS = 10
NAMED_LABELS = 60
"""Labels that stand in the figures with their counts; the rest is counted together."""

_HOSTS = 10
_LONGEST_NAME = 80  # characters
_HOST = urls.HOST.replace("(", "(?P<host>", 1)


def measure(files: Sequence[Path], seconds: float, slots: int) -> dict[str, Any]:
    """The figures of a run, without those of its surroundings.

    rows, keys: rows, and distinct url_keys among them.
    statuses: rows by status, most frequent first. ok_share: of the rows.
    images_per_second: labelled images by wall clock. urls_per_second: rows of any status.
    mean_, p50_ and p95_ of fetch_ms, decode_ms and predict_ms: of the rows that have them; None where no row has.
    ceiling_images_per_second, share_of_ceiling: see `ceiling`.
    scores: labelled images by `score`, in ten bins of equal width from 0 to 1.
    labels: labelled images by label, the most frequent ones; other_labels: all those of any other.
    hosts: those with the most failures, each with "failed" and "asked" rows and its most frequent failure "status".

    Args:
        files: the Parquet files of the run.
        seconds: wall clock of the pass, from the first URL to the last file, with the network's loading.
        slots: tasks that Spark can run at once, each on its own core.
    """
    rows = pa.concat_tables([pq.read_table(path, columns=["url_key", "status", "score", *STAGES]) for path in files])
    statuses = count(rows["status"])
    ok = statuses.get(Status.OK, 0)
    found: dict[str, Any] = {
        "rows": rows.num_rows,
        "keys": pc.count_distinct(rows["url_key"]).as_py(),
        "statuses": statuses,
        "ok_share": round(ok / rows.num_rows, 4) if rows.num_rows else None,
        "images_per_second": round(ok / seconds, 2) if seconds else None,
        "urls_per_second": round(rows.num_rows / seconds, 2) if seconds else None,
    }
    for stage in STAGES:
        found |= _milliseconds(rows[stage], stage)
    labelled = rows.filter(pc.equal(rows["status"], Status.OK.value))
    found |= ceiling(labelled, seconds, slots) | {"scores": _scores(labelled["score"])}
    return found | _labels(files) | {"hosts": _hosts(files)}


def count(values: pa.ChunkedArray) -> dict[str, int]:
    """How often each value stands there, most frequent first."""
    pairs = [(entry["values"], entry["counts"]) for entry in pc.value_counts(values).to_pylist()]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def ceiling(labelled: pa.Table, seconds: float, slots: int) -> dict[str, Any]:
    """What `slots` cores could label in a second if they did nothing but decode and run the network, and how much of
    that the pass was.

    slots * 1000 / (mean decode_ms + mean predict_ms), by the milliseconds that this run's labelled images took. Those
    are wall clock of the thread that decodes and labels, one a task: on cores that are busy with other work they are
    longer, and the ceiling is too low. Waiting for hosts, loading the network, Spark, and slots without work are what
    the share lacks. Images whose bytes were labelled before (twins.py) count in neither. None where none was labelled.
    """
    means = [pc.mean(labelled[stage]).as_py() for stage in ("decode_ms", "predict_ms")]
    spent = sum(mean or 0.0 for mean in means)
    nothing = {"slots": slots, "ceiling_images_per_second": None, "share_of_ceiling": None}
    computed = labelled.num_rows - labelled["predict_ms"].null_count
    if not computed or spent <= 0 or seconds <= 0:
        return nothing
    most = slots * 1000 / spent
    share = computed / seconds / most
    return nothing | {"ceiling_images_per_second": round(most, 2), "share_of_ceiling": round(share, 4)}


def _milliseconds(values: pa.ChunkedArray, stage: str) -> dict[str, float | None]:
    names = [f"{name}_{stage}" for name in ("mean", "p50", "p95")]
    told = [pc.mean(values).as_py(), *pc.quantile(values, [0.5, 0.95]).to_pylist()]
    return {name: None if value is None else round(value, 2) for name, value in zip(names, told, strict=True)}


def _scores(scores: pa.ChunkedArray) -> list[int]:
    present = scores.drop_null().to_numpy()
    counts, _ = np.histogram(np.clip(present, 0.0, 1.0), bins=SCORE_BINS, range=(0.0, 1.0))
    return [int(number) for number in counts]


def _labels(files: Sequence[Path]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for path in files:
        labels = pq.read_table(path, columns=["label"])["label"].drop_null()
        for label, number in count(labels).items():
            counts[label[:_LONGEST_NAME]] += number
    named = dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:NAMED_LABELS])
    return {"labels": named, "other_labels": counts.total() - sum(named.values())}


def _hosts(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The hosts with the most failures; a file at a time, for addresses are most of a row."""
    asked: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    how: Counter[tuple[str, str]] = Counter()
    for path in files:
        rows = pq.read_table(path, columns=["url", "address", "status"])
        found = pc.struct_field(pc.extract_regex(pc.coalesce(rows["address"], rows["url"]), _HOST), "host")
        for entry in _counted(found, rows["status"]):
            host, status, number = str(entry["host"] or ""), entry["status"], entry["count"]
            if host:
                asked[host] += number
            if host and status != Status.OK:
                failed[host] += number
                how[host, status] += number
    worst = sorted(failed.items(), key=lambda pair: (-pair[1], pair[0]))[:_HOSTS]
    return [_host(host, asked[host], number, how) for host, number in worst]


def _counted(hosts: Any, statuses: Any) -> list[dict[str, Any]]:
    grouped = pa.table({"host": hosts, "status": statuses}).group_by(["host", "status"])
    return [
        {"host": row["host"], "status": row["status"], "count": row["host_count"]}
        for row in grouped.aggregate([("host", "count")]).to_pylist()
    ]


def _host(host: str, asked: int, failed: int, how: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    reasons = {status: number for (name, status), number in how.items() if name == host}
    status = max(sorted(reasons), key=lambda each: reasons[each])
    return {"host": host[:_LONGEST_NAME], "failed": failed, "asked": asked, "status": status}
