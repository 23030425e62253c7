"""Open Spark sessions; no other module creates one.

    with open_session("sweep digits", page.sweep.cores) as spark:
        ...

The master is chosen outside (by `spark-submit --master`, or by the Airflow connection), never in this code.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import windrow
from windrow.clusters import executors
from windrow.errors import SparkError, UserError
from windrow.files import replacing
from windrow.plural import counted

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

TASK_CORES = "WINDROW_TASK_CORES"
"""The environment variable that tells a daemon for Python workers how many cores each task has."""

_MASTER_TIMEOUT_SECONDS = 5.0
_DRIVER_ONLY = {"ui", "laptop", "containers"}  # user interfaces and set-up: no executor imports them
_SENDING = threading.Lock()  # two jobs may share a session, such as two threads of a notebook


@contextmanager
def open_session(
    name: str, task_cores: int = 1, minutes: float = executors.MINUTES, daemon: str | None = None
) -> Iterator[SparkSession]:
    """Yield a session whose executors can import windrow, and stop the session when the `with` block ends.

    If this process already has a session, as in a notebook, yield that session and leave it running, unless its jobs
    wait for executors for too long.

    Args:
        name: the application's name in Spark's UI.
        task_cores: cores per task (spark.task.cpus).
        minutes: how long to wait for a cluster's executors, at the start and whenever there are none.
        daemon: the module that forks Python workers in local mode, in place of pyspark.daemon.

    Raises:
        UserError: no master was named, or an existing session gives each task a different number of cores.
        SparkError: the master does not answer, or the cluster offers no executor.
    """
    from pyspark import SparkConf, SparkContext  # heavy: not for --help
    from pyspark.sql import SparkSession

    if SparkContext._active_spark_context is not None:
        session = SparkSession.builder.getOrCreate()
        _check_task_cores(session, task_cores)
        ship_package(session)
        try:
            executors.await_some(session, minutes)
            with executors.watched(session, minutes):
                yield session
        finally:
            executors.forget_stopped(session)
        return
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    SparkContext._ensure_initialized()  # before this, a SparkConf does not know the options of spark-submit
    conf = SparkConf()
    master = conf.get("spark.master", "") or ""
    if not master:
        raise UserError(
            "a job needs a Spark master; got none; run it as: spark-submit --master 'local[*]' jobs/NAME.py ..."
        )
    _check_master(master)
    builder = SparkSession.builder.appName(name).config("spark.task.cpus", str(task_cores))
    workers = _forked_by(daemon, task_cores) if daemon and _may_preload(conf) else {}
    for key, value in (_DEFAULTS | ({} if _excludes(conf) else _EXCLUSION) | workers).items():
        if not conf.contains(key):
            builder = builder.config(key, value)
    session = builder.getOrCreate()
    try:
        ship_package(session)
        executors.await_some(session, minutes)
        with executors.watched(session, minutes):
            yield session
    finally:
        session.stop()


def ship_package(session: SparkSession) -> None:
    """Send the windrow package to the executors; do nothing if this session has sent the package before."""
    archive = _outbox() / "windrow.zip"
    with _SENDING:
        if archive.exists():
            return
        with replacing(archive) as part:
            _zip_package(part)
        session.sparkContext.addPyFile(str(archive))


def ship_file(session: SparkSession, path: Path, name: str) -> None:
    """Send a file to every executor, unless this session has sent `name` before; workers find it in SparkFiles' folder.

    Args:
        session: the session whose executors get the file.
        path: the file; a symbolic link is followed.
        name: the file's name there. Must be unique to the content, for example contain a digest, because a file that a
            session has sent can't be replaced.
    """
    sent = _outbox() / name
    with _SENDING:
        if sent.exists():
            return
        try:
            os.link(path.resolve(), sent)
        except OSError:  # another disk
            with replacing(sent) as part:
                shutil.copyfile(path, part)
        session.sparkContext.addFile(str(sent))


def ship_bytes(session: SparkSession, content: bytes) -> str:
    """Send bytes to every executor as a file that is named by their SHA-256; return the name, for `shipped_bytes`.

    Bytes inside a task must be fewer than spark.rpc.message.maxSize, 128 MiB by default; these may be more.
    """
    name = sha256(content).hexdigest()
    sent = _outbox() / name
    with _SENDING:
        if not sent.exists():
            with replacing(sent) as part:
                part.write_bytes(content)
            session.sparkContext.addFile(str(sent))
    return name


def shipped_bytes(name: str) -> bytes:
    """Return, in a Spark task, the bytes that `ship_bytes` sent."""
    from pyspark import SparkFiles

    return Path(SparkFiles.get(name)).read_bytes()


def _outbox() -> Path:
    """Return the driver's folder for files that are sent to executors; Spark removes the folder with the session."""
    from pyspark import SparkFiles

    folder = Path(SparkFiles.getRootDirectory()) / "sent"
    folder.mkdir(exist_ok=True)
    return folder


def _check_task_cores(session: SparkSession, wanted: int) -> None:
    given = int(session.sparkContext.getConf().get("spark.task.cpus", "1") or 1)
    if given != wanted:
        raise UserError(
            f"a task must get {counted(wanted, 'core')}, as sweep.cores says; the Spark session in this process gives "
            f"{given} (spark.task.cpus); stop it, or start it with spark.task.cpus={wanted}"
        )


_DEFAULTS = {
    "spark.log.level": "WARN",
    # Trials and downloads must not run twice at the same time.
    "spark.speculation": "false",
    # A reused Python worker keeps TensorFlow imported; importing it takes 6 to 40 s per task otherwise.
    "spark.python.worker.reuse": "true",
    "spark.ui.showConsoleProgress": "false",
    # A finalist's network may be larger than Spark's limit of 1 GiB; cluster.room_for_networks knows the driver's heap.
    "spark.driver.maxResultSize": "0",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}

# A task that has failed twice on one executor goes to another executor: with a full disk it fails at once, and would
# use up all four tries there. If there is no other executor, the job fails. An executor is excluded for that task
# only, and a host is never excluded.
_EXCLUSION = {
    "spark.excludeOnFailure.taskAndStage.enabled": "true",
    "spark.excludeOnFailure.task.maxTaskAttemptsPerExecutor": "2",
    "spark.excludeOnFailure.task.maxTaskAttemptsPerNode": "4",
    "spark.excludeOnFailure.stage.maxFailedTasksPerExecutor": "1000",
    "spark.excludeOnFailure.stage.maxFailedExecutorsPerNode": "1000",
    "spark.scheduler.excludeOnFailure.unschedulableTaskSetTimeout": "5s",
}


def _may_preload(conf: SparkConf) -> bool:
    """Return whether a process that has imported TensorFlow may fork the Python workers.

    A cluster's hosts have the package only once a worker runs. A GPU is chosen before TensorFlow is imported. On macOS,
    libraries do not expect to be forked. The user's own settings come first.
    """
    is_local = (conf.get("spark.master", "") or "").partition("[")[0] == "local"
    others = ("spark.task.resource.gpu.amount", *_forked_by("", 1))
    return is_local and sys.platform == "linux" and not any(conf.contains(key) for key in others)


def _forked_by(daemon: str, task_cores: int) -> dict[str, str]:
    return {
        "spark.python.daemon.module": daemon,
        # Spark's own OMP_NUM_THREADS may be set to another number, or to a list, for libraries other than TensorFlow.
        f"spark.executorEnv.{TASK_CORES}": str(task_cores),
        "spark.executorEnv.PYTHONPATH": str(Path(windrow.__file__).resolve().parents[1]),
    }


def _excludes(conf: SparkConf) -> bool:
    """Return whether the cluster has its own exclusion rules, which might contradict ours."""
    return any(key.startswith("spark.excludeOnFailure.") for key, _ in conf.getAll())


def _check_master(master: str) -> None:
    """Check that a standalone master answers. Spark itself needs a minute to notice that none does.

    Raises:
        SparkError: no master answers.
    """
    if wrong := unreachable_masters(master):
        raise SparkError(f"the Spark master must answer; got {wrong}; start it or correct the connection")


def unreachable_masters(master: str) -> str | None:
    """Try to connect to a standalone master: spark://A:7077, or spark://A:7077,B:7077 with a standby.

    Returns:
        Why each address failed, as one text; None if one address answers, or if the master is not a standalone one.
    """
    if not master.startswith("spark://"):
        return None
    failures = []
    for address in master.removeprefix("spark://").split(","):
        try:
            parts = urlsplit(f"//{address}")
            socket.create_connection((parts.hostname or "", parts.port or 7077), _MASTER_TIMEOUT_SECONDS).close()
        except OSError as error:
            failures.append(f"{address}: {error.strerror or error}")
        except ValueError as error:  # the port is not a number
            failures.append(f"{address}: {error}")
        else:
            return None
    return "; ".join(failures)


def _zip_package(archive: Path) -> None:
    """Zip the package: executors can import a zip file, but neither a folder nor what is next to a job's script."""
    package = Path(windrow.__file__).parent
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(package.rglob("*.py")):
            if path.relative_to(package).parts[0] not in _DRIVER_ONLY:
                target.write(path, path.relative_to(package.parent))
