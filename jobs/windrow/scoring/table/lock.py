"""Lock a predictions table: a folder that one run at a time may write to."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from windrow.errors import ServiceError, UserError

OWN = "_windrow"
"""A folder inside the table for everything but rows. Delta's readers and its vacuum ignore names with an underscore."""


@contextmanager
def held(folder: Path, run_id: str) -> Iterator[None]:
    """Lock a table while the block runs.

    Raises:
        UserError: the folder can't be created, or contains something else.
        ServiceError: another run has the lock.
    """
    folder = place(folder)
    (folder / OWN).mkdir(exist_ok=True)
    with (folder / OWN / "lock").open("a+") as lock:
        try:
            # The kernel releases it when the process ends, so a crash leaves no stale lock. The text in the file only
            # names the holder for the message below.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "another one"
            raise ServiceError(
                f"one scoring run at a time may write to {folder}; {holder} does; wait for it, then run again"
            ) from error
        lock.truncate(0)
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        lock.write(f"run {run_id}, process {os.getpid()} on {socket.gethostname()}, since {now}")
        lock.flush()
        yield


def place(folder: Path) -> Path:
    """Return the table's absolute folder, created if absent; refuse a folder that contains something else."""
    from deltalake import DeltaTable

    folder = folder.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{folder} must be a folder that can be created; {error.strerror}; choose another --table"
        raise UserError(reason) from error
    if not DeltaTable.is_deltatable(str(folder)) and any(path.name != OWN for path in folder.iterdir()):
        raise UserError(f"{folder} must be empty or a table of predictions; got other files; choose another --table")
    return folder
