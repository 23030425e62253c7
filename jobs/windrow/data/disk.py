"""Two things about folders that every writer here needs: a lock, and a clear word when the disk is full."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from windrow.errors import ServiceError

# EFBIG is what a file size limit (ulimit -f) gives.
_FULL = {errno.ENOSPC: "no space left", errno.EDQUOT: "quota used up", errno.EFBIG: "file size limit reached"}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time in `folder`, which is made if absent; the others wait. A killed holder lets go."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that writes to {folder}", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def clear_when_full(folder: Path) -> Iterator[None]:
    """Turn a full disk into one sentence.

    Raises:
        ServiceError: the disk, the quota or the file size limit that `folder` is under is used up.
    """
    try:
        yield
    except OSError as error:
        reason = why_full(error)
        if reason is None:
            raise
        raise ServiceError(
            f"{folder} must have room for the data; got {reason}; free some, or choose another folder"
        ) from error


def why_full(error: Exception) -> str | None:
    """What was used up, if an error says that; Java and delta-rs have no number for it, but the system's words."""
    number = getattr(error, "errno", None)
    if number is not None:
        return _FULL.get(number)
    said = str(error)
    return next((_FULL[number] for number in (errno.ENOSPC, errno.EDQUOT) if os.strerror(number) in said), None)
