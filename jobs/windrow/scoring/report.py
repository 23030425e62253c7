"""What a scoring run did, in figures: read from the files that it wrote, so that they say what the table says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from windrow.scoring.status import Status

_STAGES = ("fetch_ms", "decode_ms", "predict_ms")


def measure(files: Sequence[Path], seconds: float) -> dict[str, Any]:
    """Rows, distinct keys, counts by status, images a second and the mean milliseconds of each stage.

    Args:
        files: the Parquet files of the run.
        seconds: wall clock of the pass, from the first URL to the last file, with the network's loading.
    """
    columns = ["url_key", "status", *_STAGES]
    rows = pa.concat_tables([pq.read_table(path, columns=columns) for path in files])
    statuses = count(rows["status"])
    figures: dict[str, Any] = {
        "rows": rows.num_rows,
        "keys": pc.count_distinct(rows["url_key"]).as_py(),
        "statuses": statuses,
        "images_per_second": round(statuses.get(Status.OK, 0) / seconds, 2) if seconds else None,
    }
    means = {stage: pc.mean(rows[stage]).as_py() for stage in _STAGES}
    return figures | {f"mean_{stage}": None if mean is None else round(mean, 2) for stage, mean in means.items()}


def count(statuses: pa.ChunkedArray) -> dict[str, int]:
    """How often each status stands there, most frequent first."""
    pairs = [(entry["values"], entry["counts"]) for entry in pc.value_counts(statuses).to_pylist()]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def summary(result: Mapping[str, Any]) -> str:
    """The result for people, a few lines."""
    lines = [f"{result['files_read']:,} of {result['files']:,} files of the feed have news"]
    if result["files_read"]:
        told = f"{result['new']:,} new, {result['already_scored']:,} already scored"
        lines.append(f"{result['urls']:,} URLs in what was read: {told}")
    if result["retried"]:
        lines.append(f"{result['retried']:,} URLs that were due asked again")
    if result["rescored"]:
        lines.append(f"{result['rescored']:,} URLs of earlier models labelled again{_agreement(result)}")
    lines += [f"  {name:<20} {number:>9,}{_remark(name)}" for name, number in result["statuses"].items()]
    if result["rows"]:
        model = f"{result['model_name']} version {result['model_version']}"
        lines.append(f"{result['images_per_second']} images a second with {model}")
    lines.append(f"table {result['table']}, version {result['table_version']}")
    return "\n".join(lines)


def _agreement(result: Mapping[str, Any]) -> str:
    compared = result.get("compared")
    return f"; {result['agree']:.1%} of {compared:,} have the same label" if compared else ""


def _remark(status: str) -> str:
    return "  may pass" if Status(status).passing else ""
