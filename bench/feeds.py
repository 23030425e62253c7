"""The speed of reading a feed: one process, one file of each format with three columns, all of its URLs new.

    python bench/feeds.py --rows 1000000 --repeats 3 [--code FOLDER/jobs ...]

Measured is all that a run does with a file before Spark groups the URLs: its digest, its format, its check, and its
records as Arrow batches. With several folders of code, such as those of another version, they take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CODE = Path(__file__).resolve().parents[1] / "jobs"
READ = """
import sys, time
from pathlib import Path
import numpy as np
from windrow.scoring.feed import feed_marks, known_keys, new_urls
began = time.process_time()
pieces = feed_marks.news([Path(sys.argv[1])], {})[0]
rows = sum(batch.num_rows - batch.column("url_key").to_pylist()[-1].startswith("report")
           for batch in new_urls._understood(pieces, np.empty(0, known_keys.DTYPE)))
print(rows, time.process_time() - began)
"""
FORMATS = ("feed.txt", "feed.csv", "feed.jsonl", "feed.parquet")


def main() -> None:
    """Measure and print the median core-seconds, by format and code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--code", type=Path, action="append", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="windrow-feeds-") as name:
        for path in write(Path(name), options.rows):
            times: dict[Path, list[float]] = {code: [] for code in options.code or [CODE]}
            for _ in range(options.repeats):
                for code, found in times.items():
                    found.append(read(path, code, options.rows))
            print(
                path.name, *(f"{code}: {statistics.median(found):.1f} s" for code, found in times.items()), flush=True
            )


def write(folder: Path, rows: int) -> list[Path]:
    """Write a file of each format with the same URLs, and return the files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [
        {"url": f"https://images.example.com/shop/{place:08d}/front.jpg?w=300", "id": place, "name": f"shoe {place}"}
        for place in range(rows)
    ]
    text, table, lines, parquet = (folder / name for name in FORMATS)
    text.write_text("".join(f"{record['url']}\n" for record in records))
    table.write_text("url,id,name\n" + "".join(f"{','.join(map(str, record.values()))}\n" for record in records))
    lines.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    pq.write_table(pa.Table.from_pylist(records), parquet)
    return [text, table, lines, parquet]


def read(path: Path, code: Path, rows: int) -> float:
    """Read a file in a process of its own; return its core-seconds."""
    done = subprocess.run([sys.executable, "-c", READ, str(path)], cwd=code, check=True, capture_output=True, text=True)
    found, seconds = done.stdout.split()
    if int(found) != rows:
        raise SystemExit(f"{path.name} must give {rows:,} rows; got {found} with {code}")
    return float(seconds)


if __name__ == "__main__":
    main()
