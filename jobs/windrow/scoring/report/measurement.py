"""Measure a scoring run from the Parquet files that it wrote, in one pass, so that its figures agree with the table.

measured = measure(files, seconds, slots)
measured.figures, measured.failures
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from windrow.scoring.fetch import urls
from windrow.scoring.fetch.status import Status
from windrow.scoring.report.failures import Failure, FailureExamples
from windrow.scoring.report.figures import STAGES, Figures, HostFailures, Milliseconds
from windrow.scoring.report.pace import BusiestHost
from windrow.scoring.table import prediction

SCORE_BINS = 10
NAMED_LABELS = 60
"""Number of labels that the figures count by name; all other labels are counted together."""

_HOSTS = 10
_LONGEST_NAME = 80  # characters
_HOST = urls.HOST.replace("(", "(?P<host>", 1)
_TIMES = tuple(f"{stage}_ms" for stage in STAGES)
_KEPT = (
    "url_key",
    "status",
    "score",
    "attempt",
    *_TIMES,
)  # small columns, kept whole for distinct counts and quantiles
_COLUMNS = (*_KEPT, "label", "url", "address", "error")


@dataclass(frozen=True)
class Measurement:
    """The result of reading a run's files.

    Attributes:
        figures: the run's figures, without the model, the counts of the feed, and the comparisons with earlier runs.
        distinct_urls: number of different URL keys.
        failures: a few failed URLs for each reason.
        seconds: wall clock of the run.
        busiest: the host with the most URLs; None if no URL has a host.
    """

    figures: Figures
    distinct_urls: int
    failures: tuple[Failure, ...]
    seconds: float = 0.0
    busiest: BusiestHost | None = None


def measure(files: Sequence[Path], seconds: float, slots: int) -> Measurement:
    """Measure a run by reading its files once, batch by batch.

    Args:
        files: the Parquet files of the run.
        seconds: wall clock from the first URL to the last file, including the time in which tasks load the network.
        slots: tasks that Spark can run at once, each on its own core.
    """
    kept: list[pa.RecordBatch] = []
    labels, hosts, examples = _Labels(), _Hosts(), FailureExamples()
    for path in files:
        for batch in prediction.read_rows(path, _COLUMNS):
            kept.append(batch.select(_KEPT))
            labels.add(batch)
            hosts.add(batch)
            examples.add(batch)
    rows = pa.Table.from_batches(kept, pa.schema([prediction.SCHEMA.field(name) for name in _KEPT]))
    statuses = count(rows["status"])
    ok = statuses.get(Status.OK, 0)
    labelled = rows.filter(pc.equal(rows["status"], Status.OK.value))
    most, share = ceiling(labelled, seconds, slots)
    figures = Figures(
        rows=rows.num_rows,
        statuses=statuses,
        ok_share=round(ok / rows.num_rows, 4) if rows.num_rows else None,
        images_per_second=round(ok / seconds, 2) if seconds else None,
        urls_per_second=round(rows.num_rows / seconds, 2) if seconds else None,
        times={stage: _milliseconds(rows[f"{stage}_ms"]) for stage in STAGES},
        slots=slots,
        ceiling_images_per_second=most,
        share_of_ceiling=share,
        scores=_scores(labelled["score"]),
        labels=(named := labels.most_frequent()),
        other_labels=labels.counts.total() - sum(named.values()),
        hosts=hosts.worst(),
        first_tries=count(rows.filter(pc.equal(rows["attempt"], 1))["status"]),
    )
    distinct = pc.count_distinct(rows["url_key"]).as_py()
    return Measurement(figures, distinct, examples.chosen(), seconds, hosts.busiest())


def count(values: pa.ChunkedArray | pa.Array) -> dict[str, int]:
    """Return how often each value occurs, most frequent first."""
    pairs = [(entry["values"], entry["counts"]) for entry in pc.value_counts(values).to_pylist()]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def ceiling(labelled: pa.Table, seconds: float, slots: int) -> tuple[float | None, float | None]:
    """Return the images per second that `slots` cores could label without waiting, and the share that the run reached.

    The ceiling is slots * 1000 / (mean decode_ms + mean predict_ms) of this run's labelled images. These times are wall
    clock of the one thread per task that decodes and labels. If other work keeps the cores busy, the times are longer,
    and the ceiling is too low. The share is below 1 because of waiting for hosts, loading the network, Spark's own
    work, and slots without work. Images whose bytes were labelled before (deduplication.py) count neither in the
    ceiling nor in the share. Returns (None, None) if the network computed no image.
    """
    means = [pc.mean(labelled[column]).as_py() for column in ("decode_ms", "predict_ms")]
    spent = sum(mean or 0.0 for mean in means)
    computed = labelled.num_rows - labelled["predict_ms"].null_count
    if not computed or spent <= 0 or seconds <= 0:
        return None, None
    most = slots * 1000 / spent
    return round(most, 2), round(computed / seconds / most, 4)


def _milliseconds(values: pa.ChunkedArray) -> Milliseconds:
    found = [pc.mean(values).as_py(), *pc.quantile(values, [0.5, 0.95]).to_pylist()]
    return Milliseconds(*(None if value is None else round(value, 2) for value in found))


def _scores(scores: pa.ChunkedArray) -> tuple[int, ...]:
    present = scores.drop_null().to_numpy()
    counts, _ = np.histogram(np.clip(present, 0.0, 1.0), bins=SCORE_BINS, range=(0.0, 1.0))
    return tuple(int(number) for number in counts)


def _short(label: str) -> str:
    """Return a label; a long one is cut, with some of its digest, so that those that begin alike stay apart."""
    if len(label) <= _LONGEST_NAME:
        return label
    digest = sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{label[: _LONGEST_NAME - 9]}…{digest}"


class _Labels:
    """Counts labelled images by label."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, rows: pa.RecordBatch) -> None:
        for label, number in count(rows.column("label").drop_null()).items():
            self.counts[label] += number

    def most_frequent(self) -> dict[str, int]:
        most = sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))[:NAMED_LABELS]
        return {_short(label): number for label, number in most}


class _Hosts:
    """Counts rows by host and status. Stores hosts, not addresses, which are most of a row's bytes."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._milliseconds: defaultdict[str, float] = defaultdict(float)

    def add(self, rows: pa.RecordBatch) -> None:
        addresses = pc.coalesce(rows.column("address"), rows.column("url"))
        found = pc.struct_field(pc.extract_regex(addresses, _HOST), "host")
        for group in _grouped(found, rows):
            host, status, number = group["host"], group["status"], group["fetch_ms_count"]
            self._asked[host] += number
            self._milliseconds[host] += group["fetch_ms_sum"] or 0.0
            if status != Status.OK:
                self._failed[host] += number
                self._reasons[host, status] += number

    def worst(self) -> tuple[HostFailures, ...]:
        order = sorted(self._failed.items(), key=lambda pair: (-pair[1], pair[0]))[:_HOSTS]
        return tuple(self._host(host, failed) for host, failed in order)

    def busiest(self) -> BusiestHost | None:
        """Return the host with the most URLs; of several, the first by name; None if no URL has a host."""
        if not self._asked:
            return None
        host, urls = min(self._asked.items(), key=lambda pair: (-pair[1], pair[0]))
        return BusiestHost(urls, self._milliseconds[host] / 1000)

    def _host(self, host: str, failed: int) -> HostFailures:
        reasons = {status: number for (name, status), number in self._reasons.items() if name == host}
        status = max(sorted(reasons), key=lambda each: reasons[each])
        return HostFailures(host[:_LONGEST_NAME], failed, self._asked[host], status)


def _grouped(hosts: Any, rows: pa.RecordBatch) -> list[dict[str, Any]]:
    """Count rows and sum their milliseconds by (host, status). Rows without a host are left out."""
    every = pa.table({"host": hosts, "status": rows.column("status"), "fetch_ms": rows.column("fetch_ms")})
    grouped = every.group_by(["host", "status"])
    all_rows = pc.CountOptions(mode="all")
    found = grouped.aggregate([("fetch_ms", "count", all_rows), ("fetch_ms", "sum")]).to_pylist()
    return [group for group in found if group["host"]]
