"""Lock a predictions table, because only one run at a time may write to its folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from windrow.errors import ServiceError, UserError
from windrow.files import locked_or_refused

OWN = "_windrow"
"""Name of the folder inside the table for files that belong neither to the table's rows nor to its log.

Delta's readers and its vacuum ignore names that begin with an underscore.
"""


@contextmanager
def held(folder: Path, run_id: str) -> Iterator[None]:
    """Lock the table in a folder while the block runs.

    Raises:
        UserError: the folder can't be created, or contains something other than a table of predictions.
        ServiceError: another run has the lock.
    """
    folder = place(folder)
    (folder / OWN).mkdir(exist_ok=True)

    def refusal(owner: str) -> ServiceError:
        return ServiceError(
            f"one scoring run at a time may write to {folder}; {owner} does; wait for it, then run again"
        )

    with locked_or_refused(folder / OWN / "lock", f"run {run_id}", refusal):
        yield


def place(folder: Path) -> Path:
    """Create the table's folder if it does not exist; return its absolute path.

    Raises:
        UserError: the folder can't be created, or contains files but no Delta table.
    """
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
