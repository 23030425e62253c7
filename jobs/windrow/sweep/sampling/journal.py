"""Open Optuna's journal file of a study."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def open_journal(path: Path) -> BaseStorage:
    """Open Optuna's journal of a study, whose lock the caller holds. An incomplete last line is cut off."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    class HeldByTheStudy(JournalFileOpenLock):  # type: ignore[misc]
        """Locks nothing, because the caller holds the study's lock.

        Optuna's own lock outlives a killed process, and the next process would wait half a minute for it.
        """

        def acquire(self) -> bool:
            return True

        def release(self) -> None:
            pass

    _drop_torn_line(path)
    return JournalStorage(JournalFileBackend(str(path), HeldByTheStudy(str(path))))


def _drop_torn_line(path: Path) -> None:
    """Cut off an incomplete last line, left by a full disk or a kill, because the next line would be appended to it."""
    if path.is_file() and not (content := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
