"""Two things about folders that every writer here needs: a lock, and a clear word when the disk is full."""

from __future__ import annotations

import errno
import fcntl
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
        if error.errno not in _FULL:
            raise
        reason = _FULL[error.errno]
        raise ServiceError(
            f"{folder} must have room for the data; got {reason}; free some, or choose another folder"
        ) from error
