"""How much memory a set of processes takes at most, looked at every few seconds in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import psutil  # type: ignore[import-untyped]

_LARGEST = 10
_SECONDS = 3.0  # looking takes 1 to 2 ms a process


class PeakMemory:
    """Measures while its `with` block runs.

    Args:
        processes: gives the processes that exist at the moment.

    Attributes:
        bytes: the most that all of them took together.
        largest: bytes by command line at that moment, the largest processes only.
    """

    def __init__(self, processes: Callable[[], Iterable[psutil.Process]], seconds: float = _SECONDS) -> None:
        self.bytes = 0
        self.largest: dict[str, int] = {}
        self._processes = processes
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="peak memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *ending: object) -> None:
        self._ended.set()
        self._thread.join()

    def _measure(self) -> None:
        while True:
            found = [(proportional(process), process) for process in self._processes()]
            total = sum(size for size, _ in found)
            if total > self.bytes:
                self.bytes = total
                largest = sorted(found, key=lambda one: one[0], reverse=True)[:_LARGEST]
                self.largest = {f"{process.pid} {_command(process)}": size for size, process in largest}
            if self._ended.wait(self._seconds):
                return


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:120]
    except psutil.Error:
        return "ended"


def proportional(process: psutil.Process) -> int:
    """Bytes in memory; pages that several processes share are divided among them where the system tells (Linux)."""
    try:
        memory = process.memory_full_info()
    except (psutil.Error, OSError):
        return 0
    return int(getattr(memory, "pss", 0) or memory.rss)
