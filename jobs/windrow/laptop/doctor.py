"""Check this machine and the services, and print what to do about each problem.

    make doctor

The exit code is 0 without problems, otherwise 1.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from windrow import experiment
from windrow.clusters import free_memory
from windrow.errors import EXIT_FAILURE, PageError
from windrow.laptop import environment, health, services, stack
from windrow.laptop.checks.finding import Finding
from windrow.laptop.checks.studies import check_studies
from windrow.laptop.setup import java
from windrow.paths import REPOSITORY, home
from windrow.spark import unreachable_masters

_DISK_BYTES = 4 * 1024**3
_MEMORY_BYTES = 6 * 1024**3


def check_python(version: tuple[int, ...] = sys.version_info[:2]) -> Iterator[Finding]:
    """Check that the lock supports this version of Python."""
    oldest, newest = environment.SUPPORTED
    found = ".".join(map(str, version))
    well = oldest <= version <= newest
    yield Finding("Python", found, "" if well else "use Python 3.11 to 3.13: make PYTHON=/path/to/python3 test")


def check_lock(venv: Path = environment.VENV, lock: Path = environment.LOCK) -> Iterator[Finding]:
    """Check that the environment was installed completely, from the current lock."""
    file = venv / "windrow-lock"
    if not file.is_file():
        yield Finding("environment", "its set-up has not finished", "run make test or make demo: it is set up again")
    elif file.read_text(encoding="utf-8") != environment.stamp(lock):
        yield Finding("environment", f"{lock.name} or the Python has changed since", "run make test or make demo")
    else:
        yield Finding("environment", f"as {lock.name} says")


def check_versions(version: Callable[[str], str] = metadata.version) -> Iterator[Finding]:
    """Check that the versions of pyspark, pyspark-client and pandas fit together."""
    pyspark, client, pandas = version("pyspark"), version("pyspark-client"), version("pandas")
    found = f"pyspark {pyspark}, pyspark-client {client}"
    same = "" if pyspark == client else "they overwrite each other's files: pin both to one version, make lock"
    yield Finding("pyspark", found, same)
    small = int(pandas.partition(".")[0]) < 3
    yield Finding("pandas", pandas, "" if small else "pyspark 4.2 needs pandas<3: pin it in requirements.in, make lock")


def check_java() -> Iterator[Finding]:
    """Check that there is a Java that Spark can start with."""
    found = java.find()
    if found is not None:
        yield Finding("Java", f"{found}, has module {java.MODULE}")
        return
    reasons = "; ".join(dict.fromkeys(filter(None, map(java.problem, java.candidates())))) or "no Java found"
    yield Finding("Java", reasons, f"run make demo, which installs one; or {java.CURE}")


def check_ports(preferred: Mapping[str, int] = stack.PREFERRED_PORTS) -> Iterator[Finding]:
    """Report the ports of the services. A taken port is no problem, because the next free port is used instead."""
    running = stack.state().running()
    for name, port in preferred.items():
        noted = running.get(name)
        if noted is not None and noted.process() is not None:
            yield Finding(f"port of {name}", f"{noted.port}, ours")
        elif services.is_free(port):
            yield Finding(f"port of {name}", f"{port}, free")
        else:
            used = services.choose_port(port, stack.state().port(name))
            yield Finding(f"port of {name}", f"{port} is taken by {holder(port)}; make start will use {used}")


def holder(port: int) -> str:
    """Return the name and id of the process that listens on a port, as text; a phrase if this user may not see it."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return "a process of another user"


def check_services() -> Iterator[Finding]:
    """Check that each service that was started is still up and answers."""
    running = stack.state().running()
    if not running:
        yield Finding("services", "not running; make start starts them")
        return
    problems = stack.problems()
    for name, noted in running.items():
        log = f"; see {noted.log}"
        if noted.process() is None:
            yield Finding(name, "has ended", f"run make start, which starts it again{log}")
        elif wrong := problems.get(name, lambda: None)():
            yield Finding(name, wrong, f"run make stop, then make start{log}")
        else:
            yield Finding(name, f"answers, process {noted.pid}")


def check_mlflow() -> Iterator[Finding]:
    """Check the tracking server that MLFLOW_TRACKING_URI names, if it is set."""
    url = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not url.startswith("http"):
        return
    wrong = health.mlflow_problem(url)
    cure = "start it, or correct MLFLOW_TRACKING_URI"
    if wrong and wrong.startswith("403"):
        cure = f"start it with MLFLOW_SERVER_ALLOWED_HOSTS={urlsplit(url).netloc}: /health answers even so"
    yield Finding("MLFLOW_TRACKING_URI", wrong or f"{url} answers", cure if wrong else "")


def check_spark() -> Iterator[Finding]:
    """Check the Spark connection that the DAGs use; if it names a standalone master, check that the master answers."""
    text = stack.spark_connection()
    try:
        host, port = _master(text)
    except (ValueError, KeyError):
        example = '{"conn_type": "spark", "host": "spark://HOST:7077"}'
        yield Finding("Spark connection", text, f"AIRFLOW_CONN_SPARK_DEFAULT must be JSON or a URI, such as {example}")
        return
    master = f"{host}:{port}" if port and not host.endswith(f":{port}") else host
    if not master.startswith("spark://"):
        yield Finding("Spark connection", f"spark_default is {master}")
        return
    wrong = unreachable_masters(master)
    cure = "start the master, or correct AIRFLOW_CONN_SPARK_DEFAULT" if wrong else ""
    yield Finding("Spark connection", wrong or f"spark_default is {master}, which answers", cure)


def _master(text: str) -> tuple[str, int | None]:
    if text.lstrip().startswith("{"):
        values = json.loads(text)
        return str(values["host"]), values.get("port")
    parts = urlsplit(text)
    if not parts.hostname:
        raise ValueError(text)
    return f"spark://{parts.hostname}", parts.port


def check_pages(folder: Path = REPOSITORY / "dags" / "experiments") -> Iterator[Finding]:
    """Check that every experiment page is valid."""
    for path in sorted(folder.glob("*.y*ml")):
        try:
            experiment.load(path)
        except PageError as error:
            yield Finding(f"page {path.name}", "\n".join(map(str, error.problems)), "fix the mistakes on the page")
        else:
            yield Finding(f"page {path.name}", "valid")


def check_space() -> Iterator[Finding]:
    """Check that there is enough free disk space, and enough memory unless the services run already."""
    folder = next(parent for parent in (home(), *home().parents) if parent.exists())
    disk, memory = shutil.disk_usage(folder).free, free_memory.free_bytes()
    needs_memory = _MEMORY_BYTES if not stack.state().running() else 0
    for name, free, needed in (("disk", disk, _DISK_BYTES), ("memory", memory, needs_memory)):
        cure = "" if free >= needed else f"free some of it: the demo needs {needed / 1024**3:.0f} GiB"
        yield Finding(f"{name} left", f"{free / 1024**3:.1f} GiB", cure)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_lock,
    check_versions,
    check_java,
    check_ports,
    check_services,
    check_mlflow,
    check_spark,
    check_pages,
    check_studies,
    check_space,
)


def main() -> int:
    """Run all checks, print the findings, and return the exit code."""
    findings = [finding for check in CHECKS for finding in check()]
    show(findings, Console())
    return EXIT_FAILURE if any(not finding.well for finding in findings) else 0


def show(findings: list[Finding], console: Console) -> None:
    """Print a table of all findings, then what to do about the problems."""
    table = Table("", "what", "found", box=None)
    for finding in findings:
        state = "[green]ok[/]" if finding.well else "[red]problem[/]"
        table.add_row(state, escape(finding.subject), escape(finding.found))
    console.print(table)
    for finding in findings:
        if not finding.well:
            console.print(f"[red]{escape(finding.subject)}[/]: {escape(finding.cure)}", soft_wrap=True)
    if all(finding.well for finding in findings):
        console.print("All is well.")


if __name__ == "__main__":
    sys.exit(main())
