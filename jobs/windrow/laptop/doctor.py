"""Checks this machine and the services, and says for each thing that is wrong what to do.

    make doctor

Exit code 0 if nothing is wrong, else 1.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from windrow import experiment
from windrow.errors import EXIT_FAILURE, PageError, TrackingError, WindrowError
from windrow.laptop import environment, health, services, stack
from windrow.laptop.setup import java
from windrow.paths import REPOSITORY, home

if TYPE_CHECKING:
    from windrow.sweep.audit import SweepRun

_DISK_BYTES = 4 * 1024**3
_MEMORY_BYTES = 6 * 1024**3
_CONNECT_SECONDS = 3.0


@dataclass(frozen=True)
class Finding:
    """What a check found; `cure` is empty if it is well."""

    subject: str
    found: str
    cure: str = ""

    @property
    def well(self) -> bool:
        """Whether there is nothing to do."""
        return not self.cure


def check_python(version: tuple[int, ...] = sys.version_info[:2]) -> Iterator[Finding]:
    """The Python that runs this is the environment's."""
    oldest, newest = environment.SUPPORTED
    found = ".".join(map(str, version))
    well = oldest <= version <= newest
    yield Finding("Python", found, "" if well else "use Python 3.11 to 3.13: make PYTHON=/path/to/python3 test")


def check_lock(venv: Path = environment.VENV, lock: Path = environment.LOCK) -> Iterator[Finding]:
    """The environment was installed whole, from the lock as it is now."""
    file = venv / "windrow-lock"
    if not file.is_file():
        yield Finding("environment", "not set up to its end", "run make test or make demo: it is set up again")
    elif file.read_text(encoding="utf-8") != environment.stamp(lock):
        yield Finding("environment", f"{lock.name} or the Python has changed since", "run make test or make demo")
    else:
        yield Finding("environment", f"as {lock.name} says")


def check_versions(version: Callable[[str], str] = metadata.version) -> Iterator[Finding]:
    """Packages that must fit each other."""
    pyspark, client, pandas = version("pyspark"), version("pyspark-client"), version("pandas")
    found = f"pyspark {pyspark}, pyspark-client {client}"
    same = "" if pyspark == client else "they overwrite each other's files: pin both to one version, make lock"
    yield Finding("pyspark", found, same)
    small = int(pandas.partition(".")[0]) < 3
    yield Finding("pandas", pandas, "" if small else "pyspark 4.2 needs pandas<3: pin it in requirements.in, make lock")


def check_java() -> Iterator[Finding]:
    """A Java that Spark boots on."""
    found = java.find()
    if found is not None:
        yield Finding("Java", f"{found}, has module {java.MODULE}")
        return
    reasons = "; ".join(dict.fromkeys(filter(None, map(java.problem, java.candidates())))) or "there is none"
    yield Finding("Java", reasons, f"run make demo, which installs one; or {java.CURE}")


def check_ports(preferred: Mapping[str, int] = stack.PREFERRED_PORTS) -> Iterator[Finding]:
    """Taken ports are no problem by themselves, the next free one is taken: but one wants to know."""
    running = stack.state().running()
    for name, port in preferred.items():
        noted = running.get(name)
        if noted is not None and noted.process() is not None:
            yield Finding(f"port of {name}", f"{noted.port}, ours")
        elif services.is_free(port):
            yield Finding(f"port of {name}", f"{port}, free")
        else:
            used = services.choose_port(port, stack.state().port(name))
            yield Finding(f"port of {name}", f"{port} is taken by {holder(port)}; make demo will take {used}")


def holder(port: int) -> str:
    """The process that listens on a port, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return "a process of another user"


def check_services() -> Iterator[Finding]:
    """What was started is up and answers."""
    running = stack.state().running()
    if not running:
        yield Finding("services", "not running; make demo starts them")
        return
    problems = stack.problems()
    for name, noted in running.items():
        log = f"; see {noted.log}"
        if noted.process() is None:
            yield Finding(name, "has ended", f"run make demo, which starts it again{log}")
        elif wrong := problems.get(name, lambda: None)():
            yield Finding(name, wrong, f"run make stop, then make demo{log}")
        else:
            yield Finding(name, f"answers, process {noted.pid}")


def check_mlflow() -> Iterator[Finding]:
    """The tracking server that the user's shell names, if it names one."""
    url = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not url.startswith("http"):
        return
    wrong = health.mlflow_problem(url)
    cure = "start it, or correct MLFLOW_TRACKING_URI"
    if wrong and wrong.startswith("403"):
        cure = f"start it with MLFLOW_SERVER_ALLOWED_HOSTS={urlsplit(url).netloc}: /health answers even so"
    yield Finding("MLFLOW_TRACKING_URI", wrong or f"{url} answers", cure if wrong else "")


def check_spark() -> Iterator[Finding]:
    """The connection that the DAGs use, and whether its master is there."""
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
    wrong = _unreachable(master)
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


def _unreachable(master: str) -> str | None:
    """Why none of the masters of spark://A:1,B:2 answers."""
    failures = []
    for address in master.removeprefix("spark://").split(","):
        parts = urlsplit(f"//{address}")
        try:
            socket.create_connection((parts.hostname or "", parts.port or 7077), _CONNECT_SECONDS).close()
        except OSError as error:
            failures.append(f"{address}: {error.strerror or error}")
        else:
            return None
    return "; ".join(failures)


def check_pages(folder: Path = REPOSITORY / "dags" / "experiments") -> Iterator[Finding]:
    """Every experiment page is valid."""
    for path in sorted(folder.glob("*.y*ml")):
        try:
            experiment.load(path)
        except PageError as error:
            yield Finding(f"page {path.name}", "\n".join(map(str, error.problems)), "mend the page")
        else:
            yield Finding(f"page {path.name}", "valid")


def check_studies() -> Iterator[Finding]:
    """A study's ledger, journal and MLflow say the same: of each in studies/, and of the newest of each train DAG."""
    newest = {path.parents[2]: path for path in sorted(home().glob("runs/*/*/study/study.json"), key=_modified)}
    for path in (*sorted(home().glob("studies/*/study.json")), *(newest[dag] for dag in sorted(newest))):
        yield _books_of(path.parent)


def _modified(path: Path) -> float:
    return path.stat().st_mtime


def _books_of(folder: Path) -> Finding:
    from windrow.sweep import audit, study_folder

    subject = "study " + (
        folder.name if folder.name != "study" else folder.parent.relative_to(home() / "runs").as_posix()
    )
    if study_folder.is_at_work(folder):
        return Finding(subject, "a sweep is at work in it; its books are compared when it has ended")
    try:
        books = audit.read_books(folder)
    except WindrowError as error:
        return Finding(subject, "can't be read", str(error))
    said, named = _said_of(books.identity)
    if differing := audit.audit(books, said):
        more = f" (and {len(differing) - 1:,} more)" if len(differing) > 1 else ""
        return Finding(
            subject, f"its ledger, Optuna's journal and MLflow differ in {len(differing):,}", differing[0] + more
        )
    trials = f"{books.ended:,} trials" if books.over else f"{books.ended:,} of {books.budget:,} trials have ended"
    return Finding(subject, f"{trials}; {named}")


def _said_of(identity: Mapping[str, object]) -> tuple[SweepRun | None, str]:
    """What MLflow says of a study, and which books agree if nothing differs; None where it can't be asked."""
    from windrow.tracking.runs import read_runs

    two = "ledger and journal agree"
    with _mlflow() as there:
        if not there:
            return None, f"{two}; no MLflow runs that could be asked"
        try:
            said = read_runs(identity)
        except TrackingError as error:
            return None, f"{two}; MLflow was not asked: {error}"
    return said, "ledger, journal and MLflow agree" if said else f"{two}; this MLflow has no run of it"


@contextmanager
def _mlflow() -> Iterator[bool]:
    """Speak to the MLflow that the shell names, else to the stack's, else to the file; whether there is one."""
    noted = stack.state().running().get("mlflow")
    if noted is not None and noted.process() is not None and "MLFLOW_TRACKING_URI" not in os.environ:
        os.environ["MLFLOW_TRACKING_URI"] = f"http://{services.LOOPBACK}:{noted.port}"
        try:
            yield True
        finally:
            del os.environ["MLFLOW_TRACKING_URI"]
    else:
        yield "MLFLOW_TRACKING_URI" in os.environ or (home() / "mlflow" / "mlflow.db").is_file()


def check_space() -> Iterator[Finding]:
    """Disk and memory that are left."""
    folder = next(parent for parent in (home(), *home().parents) if parent.exists())
    disk, memory = shutil.disk_usage(folder).free, psutil.virtual_memory().available
    needs_memory = _MEMORY_BYTES if not stack.state().running() else 0
    for name, free, needed in (("disk", disk, _DISK_BYTES), ("memory", memory, needs_memory)):
        cure = "" if free >= needed else f"free some: the demo needs {needed / 1024**3:.0f} GiB"
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
    """Check everything and show it; the exit code."""
    findings = [finding for check in CHECKS for finding in check()]
    show(findings, Console())
    return EXIT_FAILURE if any(not finding.well for finding in findings) else 0


def show(findings: list[Finding], console: Console) -> None:
    """A table of all findings, then what to do."""
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
