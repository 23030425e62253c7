"""Start long-running processes, record them, and end exactly these processes.

    state = State(home() / "services.json")
    ensure(Service("images", [...], variables, ready, port=8765), state, log_folder)
    stop(state, home())

Each process runs in its own session, so that it stays up after make has ended. A process is recognised by its id and
start time together: another process that has got the same id later is left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from windrow.errors import ServiceError
from windrow.files import write_json

_MARK = "WINDROW_STACK"
LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 0.25
_START_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True)
class Service:
    """A command to run, and a check that it works."""

    name: str
    command: Sequence[str]
    variables: Mapping[str, str]  # its own settings
    ready: Callable[[], str | None]  # returns None once the service answers, else what is wrong
    inherited: Mapping[str, str] = field(default_factory=dict)  # the shell's variables; a change restarts nothing
    port: int | None = None
    folder: Path | None = None
    seconds: float = 120.0  # to become ready

    def digest(self) -> str:
        """Return a digest of command, folder and settings. A service whose digest has changed is restarted."""
        asked = json.dumps([list(self.command), sorted(self.variables.items()), str(self.folder)])
        return hashlib.sha256(asked.encode()).hexdigest()


@dataclass(frozen=True)
class Running:
    """A recorded process; `started` is the time in seconds that `start_of` returned for it."""

    pid: int
    started: float
    log: str
    digest: str = ""
    port: int | None = None

    def process(self) -> psutil.Process | None:
        """Return the recorded process; None if it has ended."""
        try:
            process = psutil.Process(self.pid)
            same = abs(start_of(process) - self.started) < _START_TOLERANCE_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


def start_of(process: psutil.Process) -> float:
    """Return when the process started, in seconds; the value stays the same when the system's clock is set.

    Linux counts from the boot, and psutil adds the boot's time by the clock of now: a clock that is set, or a machine
    that was paused, would make each process another one. macOS keeps the time of the start itself.
    """
    return float(process.create_time() - (psutil.boot_time() if psutil.LINUX else 0.0))


def mark(home: Path) -> dict[str, str]:
    """Return environment variables that mark a process, and all its descendants, as started for `home`."""
    # SPT_NOENV: when Airflow's processes change their titles, they must not overwrite these variables.
    return {_MARK: str(home), "SPT_NOENV": "1"}


class State:
    """The file that records processes and ports. Ports stay recorded, so that a restarted service keeps its address."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def running(self) -> dict[str, Running]:
        """Return the recorded processes by service name; they may have ended."""
        return {name: Running(**values) for name, values in self._read().get("running", {}).items()}

    def port(self, name: str) -> int | None:
        """Return the last recorded port of a service; None if none was recorded."""
        ports: dict[str, int] = self._read().get("ports", {})
        return ports.get(name)

    def note(self, name: str, running: Running | None, port: int | None = None) -> None:
        """Record a service's process (None removes it), and its port if given."""
        values = self._read()
        values.setdefault("running", {}).pop(name, None)
        if running is not None:
            values["running"][name] = asdict(running)
        if port is not None:
            values.setdefault("ports", {})[name] = port
        write_json(self.file, values)

    def _read(self) -> Any:
        try:
            values = json.loads(self.file.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return values if isinstance(values, dict) else {}


def choose_port(preferred: int, remembered: int | None, taken: Iterable[int] = ()) -> int:
    """Return the remembered port if it is free, else the first free port from `preferred` on; skip ports in `taken`.

    Raises:
        ServiceError: all of a hundred ports in a row are taken.
    """
    candidates = list(range(preferred, preferred + 100))
    others = set(taken)
    for port in [remembered or preferred, *candidates]:
        if port not in others and is_free(port):
            return port
    raise ServiceError(
        f"one port from {preferred} to {preferred + 99} must be free; all are taken; end the processes that use them"
    )


def is_free(port: int) -> bool:
    """Return whether a service can use the port: nothing listens on the port, and it can be bound.

    Binding alone proves nothing: on macOS it succeeds even if another process has bound the port on all addresses.
    """
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def ensure(service: Service, state: State, logs: Path) -> bool:
    """Start a service, unless it already runs with these settings; return True if it was started.

    A service that runs with other settings is ended first. Return without waiting until the service answers.
    """
    noted = state.running().get(service.name)
    if noted is not None:
        if noted.process() is not None and noted.digest == service.digest():
            return False
        end([noted])
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{service.name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            service.command,
            env={**service.inherited, **service.variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=service.folder,
            start_new_session=True,
        )
    started = start_of(psutil.Process(process.pid))
    state.note(service.name, Running(process.pid, started, str(log), service.digest(), service.port), service.port)
    return True


def wait_ready(services: Iterable[Service], state: State) -> None:
    """Wait until each service answers a real request.

    Raises:
        ServiceError: a service ended or took too long; the message has the end of its log.
    """
    for service in services:
        end_time = time.monotonic() + service.seconds
        while (wrong := service.ready()) is not None:
            noted = state.running()[service.name]
            if noted.process() is None:
                raise ServiceError(f"{service.name} must stay up; it ended while starting; {_log_end(noted.log)}")
            if time.monotonic() > end_time:
                limit = f"{service.seconds:.0f} s"
                raise ServiceError(f"{service.name} must answer within {limit}; got {wrong}; {_log_end(noted.log)}")
            time.sleep(_POLL_SECONDS)


def _log_end(log: str, lines: int = 12) -> str:
    text = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n  ".join([f"see {log}, which ends:", *text])


def stop(state: State, home: Path) -> list[str]:
    """End all recorded services, and every process whose environment marks it as started for `home`.

    Return the names of the services that were alive.
    """
    noted = state.running()
    alive = [name for name, running in noted.items() if running.process() is not None]
    end(noted.values(), home)
    for name in noted:
        state.note(name, None)
    return alive


def end(noted: Iterable[Running], home: Path | None = None, grace: float = 10.0) -> None:
    """End the recorded processes with their descendants, and with `home` all processes that are marked for it.

    SIGTERM goes to all at once, because a parent (Airflow's scheduler) would wait for its children's work to finish.
    SIGKILL goes to those that are left after `grace` seconds.
    """
    doomed = {process for running in noted for process in tree(running)} | marked(home)
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        for process in doomed:
            with suppress(psutil.Error):
                process.send_signal(number)
        psutil.wait_procs(doomed, timeout=seconds)
        # Search again: a process may start another while it ends.
        doomed = {process for process in doomed | marked(home) if _lives(process)}
        if not doomed:
            return


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def tree(running: Running) -> list[psutil.Process]:
    """Return the recorded process and all its descendants; an empty list if the process has ended."""
    process = running.process()
    if process is None:
        return []
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return [process]


def marked(home: Path | None) -> set[psutil.Process]:
    """Return this user's processes that are marked as started for `home`, also orphans; empty without `home`.

    This process and its parents are not among them.
    """
    if home is None:
        return set()
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if (
                process.pid not in mine
                and process.uids().real == os.getuid()
                and process.environ().get(_MARK) == str(home)
            ):
                found.add(process)
    return found
