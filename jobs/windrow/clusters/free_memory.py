"""Find how much memory this process and its siblings may still take: a container may have less than its machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")
_USED = ("memory.current", "memory.usage_in_bytes")
_CACHED = ("inactive_file", "active_file")
"""What the kernel gives back before it ends a process, in memory.stat: pages of files, as in psutil's `available`."""


def free_bytes(root: Path = Path("/")) -> int:
    """Return the bytes of memory that are free for this process: those of the machine, or of its control groups.

    A control group is how Linux limits a container. Each group that this process belongs to counts, and each group
    around it: the smallest number is returned, at least 0. Version 1 and version 2 of control groups are known. Without
    them, as on macOS, the machine's free memory counts.

    Args:
        root: the folder with proc/ and sys/.
    """
    available = int(psutil.virtual_memory().available)  # noqa: TID251 - the only place
    return max(0, min([available, *(left for group in _groups(root) if (left := _left(group)) is not None)]))


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups for memory that this process belongs to, and of those around them.

    In a container, /proc may name a path of the host that is not there. The groups that it sees are then those above.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    mounted = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2, which is mounted next to version 1 on some machines
            top = mounted / "unified" if (mounted / "unified").is_dir() else mounted
        elif "memory" in controllers.split(","):
            top = mounted / "memory"
        else:
            continue
        group = top / path.strip("/")
        yield from (group, *(parent for parent in group.parents if parent.is_relative_to(top)))


def _left(group: Path) -> int | None:
    """Return the bytes that a control group has left; None if it has no limit, or is not there."""
    limits = [limit for name in _LIMITS if (limit := _number(group / name)) is not None]
    used = next((number for name in _USED if (number := _number(group / name)) is not None), None)
    if not limits or used is None:
        return None
    return min(limits) - used + _cached(group)


def _number(file: Path) -> int | None:
    """Return the number in a file; None if it is not there, or says "max"."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _cached(group: Path) -> int:
    """Return the bytes of a group's files that are in memory, those of inner groups included."""
    try:
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    found = {name: int(value) for name, value in (line.split() for line in lines)}
    # Version 1 has the numbers with those of inner groups under names of their own.
    return sum(found.get(f"total_{name}", found.get(name, 0)) for name in _CACHED)
