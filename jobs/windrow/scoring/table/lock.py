"""The place of a predictions table: a folder of its own, which one run at a time may write to."""

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
"""A folder inside the table for what is no row. Delta's readers and its vacuum leave such names alone."""


@contextmanager
def held(folder: Path, run_id: str) -> Iterator[None]:
    """Hold a table alone. The lock goes with the process, however that ends; the text in it names the holder.

    Raises:
        UserError: the folder can't be made, or holds something else.
        ServiceError: another run holds it.
    """
    folder = place(folder)
    (folder / OWN).mkdir(exist_ok=True)
    with (folder / OWN / "lock").open("a+") as lock:
        try:
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
    """The table's folder, made if absent; nothing is written where something else lies."""
    from deltalake import DeltaTable

    folder = folder.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{folder} must be a folder that can be made; {error.strerror}; choose another --table"
        raise UserError(reason) from error
    if not DeltaTable.is_deltatable(str(folder)) and any(path.name != OWN for path in folder.iterdir()):
        raise UserError(f"{folder} must be empty or a table of predictions; got other files; choose another --table")
    return folder
