"""Measure the peak memory of a set of processes, every few seconds in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import psutil  # type: ignore[import-untyped]

_LARGEST = 10
_SECONDS = 3.0  # between two measurements, which take 1 to 2 ms per process


class PeakMemory:
    """A context manager that measures memory in the background while its `with` block runs.

    Args:
        processes: returns the processes to measure.
        seconds: the time between two measurements.

    Attributes:
        bytes: the peak memory of all processes together.
        largest: id and command → bytes, for the ten largest processes at the peak.
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
    """Return a process's memory in bytes. On Linux, pages shared by several processes are divided among them."""
    try:
        memory = process.memory_full_info()
    except (psutil.Error, OSError):
        return 0
    return int(getattr(memory, "pss", 0) or memory.rss)
