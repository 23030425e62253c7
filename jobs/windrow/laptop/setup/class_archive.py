"""Archive Spark's Java classes in the JVM's memory layout, so that each spark-submit starts about 6 s sooner.

The JVM calls this class data sharing. An archive fits one Java and one set of jars, and is ignored with any other. This
module uses only the standard library, except in the script that it runs with spark-submit.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

VARIABLE = "SPARK_SUBMIT_OPTS"  # spark-submit passes it to the driver's JVM
GLUE = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For a JVM that passes work to Python: full compilation would take half of a short job's CPU time, for no gain."""

_SECONDS = 300


def archive(venv: Path, java_home: Path) -> Path:
    """Return the path of the archive for an environment and a Java; the file need not exist."""
    modules = java_home / "lib" / "modules"  # every Java has this file, and it differs between releases
    state = modules.stat() if modules.exists() else None
    text = f"{java_home.resolve()} {state and (state.st_size, state.st_mtime_ns)}"
    return venv / f"spark-classes-{hashlib.sha256(text.encode()).hexdigest()[:12]}.jsa"


def option(file: Path) -> str:
    """Return the JVM option that uses the archive, quoted for SPARK_SUBMIT_OPTS."""
    return f'"-XX:SharedArchiveFile={file}"'


def make(file: Path, variables: Mapping[str, str], log: Path) -> None:
    """Run a script that uses Spark as the jobs do, and write an archive of the classes that it loads to `file`.

    Do nothing if the file exists. A failure is printed but raises no error: jobs then just start more slowly.

    Args:
        file: the path of the archive.
        variables: the environment variables of the command.
        log: the file for Spark's output.
    """
    if file.exists():
        return
    print("java: laying out Spark's classes, once, half a minute", flush=True)
    began = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        aside = Path(folder) / file.name
        submit = ["spark-submit", "--master", "local[2]", "--driver-memory", "1g", __file__, str(Path(folder) / "rows")]
        options = f'"-XX:ArchiveClassesAtExit={aside}" {GLUE}'
        with log.open("w", encoding="utf-8") as output:
            try:
                code: int | str = subprocess.run(
                    submit,
                    env={**variables, VARIABLE: options, "SPARK_LOCAL_IP": "127.0.0.1"},
                    stdout=output,
                    stderr=output,
                    stdin=subprocess.DEVNULL,
                    timeout=_SECONDS,
                ).returncode
            except (OSError, subprocess.TimeoutExpired) as error:
                code = str(error)
            if code:
                output.write(f"spark-submit must end with 0; got {code}\n")
        # The JVM also writes an archive when the script fails, with the classes up to there.
        if code or not aside.exists():
            print(f"java: Spark's classes are not laid out, so jobs start some seconds later; see {log}", flush=True)
            return
        aside.replace(file)
    print(f"java: Spark's classes laid out in {time.monotonic() - began:.0f} s", flush=True)


def _tour(folder: str) -> None:
    from windrow.spark import open_session

    def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    with open_session("class archive") as spark:
        numbers = spark.createDataFrame([(str(number), number) for number in range(8)], "name string, number long")
        numbers = numbers.repartition(2)
        numbers.mapInArrow(same, numbers.schema).write.parquet(folder)
        rows = spark.read.schema(numbers.schema).parquet(folder)
        known = rows.where("number < 4").select("name")
        rows.join(known, "name", "left_anti").dropDuplicates(["name"]).groupBy("number").count().collect()
        spark.createDataFrame([("0",)], "name string").persist().toArrow()
        spark.sparkContext.parallelize(range(2), 2).map(str).collect()


if __name__ == "__main__":
    _tour(sys.argv[1])
